"""Other ways for XiNet to prune where little is left, from `runs.csv` and the claims.

python -m experiments.widths_and_pace          # print both tables
python -m experiments.widths_and_pace --renew  # renew docs/notebook/widths-and-pace.md and its CSV file
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from experiments import pages
from experiments.claims import prices, results, tables
from experiments.claims.statistics import difference, interquartile_mean

RUNS = Path(__file__).with_name("runs.csv")
PAGE = Path("docs/notebook/widths-and-pace.md")
COLUMNS = ("task", "seeds", "variant", "return", "last fifth", "all left")  # of the table, on the page
PRICE = 1000
OURS = f"ν {PRICE}"
RIVALS = ("magnitude", "random")
Run = tuple[list[dict], tuple[np.ndarray, np.ndarray]]  # sizes by seed; the saved policies' returns, and last fifths


def read() -> dict[tuple[str, str], dict[str, Run]]:
    """Returns every way's run by task and seeds: ours first, rivals last; of seeds 0 to 2 both are the claims' own."""
    found: dict[tuple[str, str], dict[str, list[dict]]] = {}
    with RUNS.open() as file:
        for row in csv.DictReader(file):
            own = found.setdefault((row.pop("task"), row.pop("seeds")), {})
            own.setdefault(row.pop("how"), []).append({name: float(value) for name, value in row.items()})
    runs = {}
    for (task, seeds), ways in found.items():
        own = {
            way: (rows, tuple(results.column(rows, name) for name in ("return", "last_fifth")))
            for way, rows in ways.items()
        }
        if OURS not in own:
            named = {OURS: prices.by_price(results.FOLDER / task, "prices")[PRICE]}
            named |= {way: prices.by_price(results.FOLDER / task, f"{way}-{PRICE}")[PRICE] for way in RIVALS}
            claims = {way: (final, tables.scores(final, course)) for way, (final, course) in named.items()}
            own = {OURS: claims.pop(OURS)} | own | claims
        runs[task, seeds] = own
    return runs


def table() -> str:
    """Returns a line per task, seeds and way; differences are those of the last fifth."""
    rows = []
    for (task, seeds), ways in read().items():
        last = {way: scores[1] for way, (_, scores) in ways.items()}
        for way, (final, scores) in ways.items():
            saved, late = map(str, map(interquartile_mean, scores))
            gaps = [str(difference(last[way], last[than])) if way != than else "" for than in (OURS, RIVALS[0])]
            name = f"*{way}*" if way in RIVALS else way
            rows.append([task, seeds, name, saved, tables.each_seed(final), late, *gaps, *tables.sizes(final)[1:5]])
    headings = ["task", "seeds", "variant", "return", "each seed", "last fifth"]
    headings += [f"relative to {OURS}", f"relative to {RIVALS[0]}"]
    return tables.markdown([*headings, "all left", "OFENet", "actor", "critics"], rows)


def together() -> str:
    """Returns a line per rival: its difference from ours, of all seeds on HalfCheetah together."""
    every = [ways for (task, _), ways in read().items() if task == "HalfCheetah-v5"]
    of = lambda way, which: np.concatenate([ways[way][1][which] for ways in every])  # noqa: E731
    rows = [[way, *(str(difference(of(way, which), of(OURS, which))) for which in (0, 1))] for way in RIVALS]
    return tables.markdown([f"all seeds, relative to {OURS}", "return", "last fifth"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help=f"renew the table of {PAGE} instead of printing it")
    if parser.parse_args().renew:
        pages.renew(PAGE, table(), COLUMNS)
    else:
        print(table(), together(), sep="\n\n")


if __name__ == "__main__":
    main()
