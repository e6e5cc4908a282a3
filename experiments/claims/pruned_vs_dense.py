"""Claim 1: does pruning a large network while it trains cost return?

python -m experiments.claims.pruned_vs_dense                          # all tasks: hours; Ctrl-C, and again, goes on
python -m experiments.claims.pruned_vs_dense --tasks HalfCheetah-v5   # one
python -m experiments.claims.pruned_vs_dense --table                  # the table of what is there
"""

from pathlib import Path

from experiments.claims import tables
from experiments.claims.arms import SEEDS
from experiments.claims.claim import main

ARMS = ("xinet", "ofenet", "sac")


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns returns and sizes, against the dense agent."""
    return tables.returns(folder, tasks, arms, "ofenet")


if __name__ == "__main__":
    main(__doc__, ARMS, SEEDS, table)
