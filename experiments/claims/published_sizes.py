"""Claim 6: the published sizes (preset `paper`), for as many steps as fit: XiNet, dense, and small from scratch.

python -m experiments.claims.published_sizes            # hours; Ctrl-C, and again, goes on
python -m experiments.claims.published_sizes --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import speed, tables
from experiments.claims.claim import main

ARMS = ("paper-xinet", "paper-ofenet", "paper-small")
TASKS = ("HalfCheetah-v5",)


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns returns and sizes, against the dense agent; then speed, before XiNet prunes and after."""
    found = tables.returns(folder, tasks, arms, "paper-ofenet")
    return found if found == tables.NOTHING else f"{found}\n\n{speed.table(folder, tasks, arms, 'paper-xinet')}"


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
