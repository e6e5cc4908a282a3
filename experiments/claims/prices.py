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
    """Returns a line per task and price: returns and sizes."""
    rows = []
    for task in tasks:
        found = [row for arm in arms for row in results.read(folder / task / arm, "final")]
        for nu, own in results.grouped(found, "nu").items():
            mean = interquartile_mean(results.column(own, "return"))
            rows.append([task, f"{nu:g}", str(mean), tables.each_seed(own), *tables.sizes(own)])
    return tables.markdown(["task", "ν", "return", "each seed", *tables.size_headings()], rows)


if __name__ == "__main__":
    main(__doc__, ("prices",), TASKS, table)
