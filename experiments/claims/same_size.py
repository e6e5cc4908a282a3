"""Claim 2: is what pruned itself better than other agents of the same size?

Small from scratch with XiNet's own final widths (small), the same fraction of every dense layer with as many parameters
(uniform), and units pruned by magnitude or at random to the share that XiNet comes down to, on a cubic schedule of
XiNet's first and last step.

    python -m experiments.claims.same_size            # hours; Ctrl-C, and again, goes on
    python -m experiments.claims.same_size --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import tables
from experiments.claims.claim import main

ARMS = ("xinet", "small", "uniform", "magnitude", "random")
TASKS = ("HalfCheetah-v5", "Hopper-v5")


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns returns and sizes, against XiNet."""
    return tables.returns(folder, tasks, arms, "xinet")


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
