"""Differences between any arms that have results, of whatever claims.

python -m experiments.claims.compare ofenet small                             # on every task that has both
python -m experiments.claims.compare magnitude random xinet --tasks Ant-v5    # the first two against the last
python -m experiments.claims.compare ofenet xinet --course                    # evaluation by evaluation
"""

import argparse
from pathlib import Path

from experiments.claims import results, tables
from experiments.claims.arms import ARMS, SEEDS

COMPARED = [arm for arm in ARMS if arm != "prices"]  # whose members are not seeds alone


def main() -> None:
    """Prints the table of some arms, against the last of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="+", choices=COMPARED, metavar="ARM", help=f"of {COMPARED}; two or more")
    parser.add_argument(
        "--tasks", nargs="+", choices=list(SEEDS), default=list(SEEDS), metavar="TASK", help=f"of {list(SEEDS)}"
    )
    parser.add_argument("--course", action="store_true", help="returns and parameters at every evaluation instead")
    parser.add_argument(
        "--without", nargs="+", type=int, default=[], metavar="STEP", help="evaluations that the last fifth leaves out"
    )
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="results of the claims")
    given = parser.parse_args()
    if len(given.arms) < 2:
        parser.error("give two arms or more: all are compared with the last")
    if given.course and given.without:
        parser.error("--without is for the last fifth, not for --course, which shows every evaluation")
    *others, reference = given.arms
    there = {task: {arm for arm in given.arms if (given.results / task / arm).exists()} for task in given.tasks}
    tasks = [task for task, arms in there.items() if reference in arms and arms.intersection(others)]
    if given.course:
        print(tables.courses(given.results, tasks, given.arms))
    else:
        try:
            print(tables.returns(given.results, tasks, given.arms, reference, given.without))
        except ValueError as error:
            parser.error(str(error))


if __name__ == "__main__":
    main()
