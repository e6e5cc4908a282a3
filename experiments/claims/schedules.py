"""Beside claim 3: does it matter when pruning happens?

XiNet as in the other claims (from step 25,000 to 50,000 at ν 300), by the defaults of `xinet train` (early: from 10,000
to 20,000 at ν 400), and at that price from 30,000 to 50,000 (late).

    python -m experiments.claims.schedules            # hours; Ctrl-C, and again, goes on
    python -m experiments.claims.schedules --table    # the table of what is there
"""

from pathlib import Path

from experiments.claims import tables
from experiments.claims.claim import main

ARMS = ("xinet", "early", "late")
TASKS = ("HalfCheetah-v5", "Hopper-v5")


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns returns and sizes, against arm xinet."""
    return tables.returns(folder, tasks, arms, "xinet")


if __name__ == "__main__":
    main(__doc__, ARMS, TASKS, table)
