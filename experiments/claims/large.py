"""Claim 7: large networks, pruned to 40% and to 15% of their parameters by several rules, beside dense ones.

All arms have the published sizes (preset `paper`), five seeds and one common start.

    python -m experiments.claims.large            # days on a core; Ctrl-C, and again, goes on
    python -m experiments.claims.large --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import tables
from experiments.claims.arms import ARMS as ALL
from experiments.claims.claim import main

ARMS = tuple(arm for arm in ALL if arm.startswith("large-"))
TASKS = ("HalfCheetah-v5", "Ant-v5")


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns returns and sizes, against the dense agents."""
    return tables.returns(folder, tasks, arms, "large-dense")


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
