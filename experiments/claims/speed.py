"""Claim 4: what speed does pruning earn? From the runs of claim 1, which this completes first.

python -m experiments.claims.speed            # runs what is missing of claim 1's xinet and ofenet
python -m experiments.claims.speed --table    # the table of what is there
"""

from pathlib import Path

import numpy as np
import yaml

from experiments.claims import results, tables
from experiments.claims.arms import SEEDS, STEPS
from experiments.claims.claim import main

ARMS = ("xinet", "ofenet")


def table(folder: Path, tasks: list[str], arms: list[str], pruned: str = "xinet") -> str:
    """Returns a line per task and arm: updates of all seeds per second before and after pruning, and the run's length.

    Rates are medians over lines of metrics, a thousand steps each; of both arms over the steps before and after those
    in which arm `pruned` prunes. The run's length is told in minutes, and as what `gain` says of it.
    """
    rows = []
    for task in tasks:
        start, stop = pruned_between(folder / task / pruned)
        for arm in arms:
            own = folder / task / arm
            steps, rate = rates(own)
            if not len(steps):
                continue
            before, after = _median(rate[steps <= start]), _median(rate[steps > stop])
            row = [task, arm, _text(before, ".0f"), _text(after, ".0f"), _text(after / before, ".2f")]
            rows.append([*row, _text(minutes_in_all(own), ".0f"), _text(gain(own, start), ".2f")])
    headings = ["task", "arm", "updates/s before", "after", "after / before", "minutes", "whole run"]
    return tables.markdown(headings, rows)


def pruned_between(folder: Path) -> tuple[int, int]:
    """Returns the environment steps at which a run prunes: first, last. Where there is no run, both are its end."""
    path = folder / "config.yaml"
    pruning = yaml.safe_load(path.read_text())["pruning"] if path.exists() else {}
    return pruning.get("prune_start", STEPS), pruning.get("prune_stop", STEPS)


def rates(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns environment steps, and updates per second of all seeds together up to these, `[lines]` each."""
    found = results.read(folder, "speed")
    return results.column(found, "environment_steps"), results.column(found, "updates_per_second")


def gain(folder: Path, start: int) -> float:
    """Returns how many times as fast a run was in all as with the usual pace of its steps before pruning throughout.

    A run is compared with itself alone, so that it does not matter how fast its machine is, as long as that stays so.
    Evaluations, and compilation for smaller arrays, count against it: the usual pace is the median over lines of
    metrics, a thousand steps each, most of which have neither.

    Args:
      folder: the run's results.
      start: the environment steps at which pruning starts.

    Returns:
      The ratio; NaN if the run was resumed, or all of its steps or hardly any are before pruning.
    """
    steps, seconds = timed(folder)
    if not (steps > start).any():
        return float("nan")
    return float(pace(folder, start) * np.ptp(steps) / np.ptp(seconds))


def pace(folder: Path, start: int) -> float:
    """Returns a run's usual pace before pruning starts [seconds per environment step of every seed]; NaN if resumed."""
    steps, seconds = timed(folder)
    before = steps <= start
    return float(np.median(np.diff(seconds[before]) / np.diff(steps[before]))) if before.sum() > 1 else float("nan")


def minutes_in_all(folder: Path) -> float:
    """Returns how long a run took, compilation and evaluations but the last included; NaN if it was resumed."""
    _, seconds = timed(folder)
    return max(seconds, default=float("nan")) / 60


def timed(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns environment steps, and seconds since the start at which they were taken, `[lines]` each.

    Of a run that was resumed, or whose trunk was, there are none: starting again takes time as well.
    """
    known = results.about(folder)
    resumed = known.get("resumed", 0) or known.get("trunk", {}).get("resumed", 0)
    found = [] if resumed else results.read(folder, "speed")
    return results.column(found, "environment_steps"), results.column(found, "seconds")


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _text(value: float, how: str) -> str:
    return "" if np.isnan(value) else format(value, how)


if __name__ == "__main__":
    main(__doc__, ARMS, SEEDS, table)
