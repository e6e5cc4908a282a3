"""Claim 3: how much is too much? Four prices over a factor of 30, all in one program.

python -m experiments.claims.prices            # hours; Ctrl-C, and again, goes on
python -m experiments.claims.prices --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import results, tables
from experiments.claims.claim import main
from experiments.claims.statistics import interquartile_mean

TASKS = ("HalfCheetah-v5", "Hopper-v5")


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns a line per task and price: returns, those in the last fifth of training, and sizes."""
    rows = []
    for task in tasks:
        final, course = (
            results.grouped((row for arm in arms for row in results.read(folder / task / arm, name)), "nu")
            for name in ("final", "course")
        )
        for nu, own in final.items():
            saved = interquartile_mean(results.column(own, "return"))
            late = interquartile_mean(results.late_returns(course[nu]))
            rows.append([task, f"{nu:g}", str(saved), tables.each_seed(own), str(late), *tables.sizes(own)])
    return tables.markdown(["task", "ν", "return", "each seed", "last fifth", *tables.size_headings()], rows)


if __name__ == "__main__":
    main(__doc__, ("prices",), TASKS, table)
