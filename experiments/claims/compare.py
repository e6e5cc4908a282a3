"""Differences between any arms that have results, of whatever claims.

python -m experiments.claims.compare ofenet small                             # ofenet, against small, on every task
python -m experiments.claims.compare magnitude random xinet --tasks Ant-v5    # the first two against the last
"""

import argparse
from pathlib import Path

from experiments.claims import results, tables
from experiments.claims.arms import ARMS, SEEDS


def main() -> None:
    """Prints the table of some arms, against the last of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+", choices=list(ARMS), metavar="ARM", help=f"of {list(ARMS)}; two or more")
    parser.add_argument("--tasks", nargs="+", choices=list(SEEDS), default=list(SEEDS), metavar="TASK", help="which")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="results of the claims")
    given = parser.parse_args()
    if len(given.arms) < 2:
        parser.error("give two arms or more: all are compared with the last")
    reference = given.arms[-1]
    tasks = [task for task in given.tasks if (given.results / task / reference).exists()]
    print(tables.returns(given.results, tasks, given.arms, reference))


if __name__ == "__main__":
    main()
