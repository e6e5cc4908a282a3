"""Claim 4: what speed does pruning earn? From the runs of claim 1, which this completes first.

python -m experiments.claims.speed            # runs what is missing of claim 1's xinet and ofenet
python -m experiments.claims.speed --table    # the table of what is there
"""

from pathlib import Path

import numpy as np

from experiments.claims import results, tables
from experiments.claims.arms import SEEDS
from experiments.claims.claim import main

ARMS = ("xinet", "ofenet")


def table(folder: Path, tasks: list[str]) -> str:
    """Returns a line per task and arm: updates of all seeds per second at first and at last, and the run's length."""
    rows = []
    for task in tasks:
        seconds = {arm: total_seconds(folder / task / arm) for arm in ARMS}
        for arm in ARMS:
            steps, rate = rates(folder / task / arm)
            if not len(steps):
                continue
            row = [task, arm, f"{rate[0]:.0f}", f"{rate[-1]:.0f}", f"{rate[-1] / rate[0]:.2f}"]
            faster = seconds["ofenet"] / seconds[arm]
            rows.append([*row, f"{seconds[arm] / 60:.0f}", "" if np.isnan(faster) else f"{faster:.2f}"])
    headings = [
        "task",
        "arm",
        "updates/s at first",
        "at last",
        "ratio",
        "minutes in all",
        "times as fast",
    ]
    return tables.markdown(headings, rows)


def rates(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns environment steps, and updates per second of all seeds together at these, `[evaluations]` each."""
    course = results.read(folder, "course")
    steps = np.unique(results.column(course, "environment_steps"))
    at = [[row["iterations_per_second"] for row in course if row["environment_steps"] == step] for step in steps]
    return steps, np.array([sum(own) for own in at])


def total_seconds(folder: Path) -> float:
    """Returns how long a run took, compilation and evaluations included [s]; NaN if it is not there."""
    course = results.read(folder, "course")
    return max(results.column(course, "seconds"), default=np.nan)


if __name__ == "__main__":
    main(__doc__, ARMS, SEEDS, table)
