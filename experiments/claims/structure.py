"""Claim 5: what is left, and does it differ from seed to seed? From the runs of claim 1, which this completes first.

python -m experiments.claims.structure            # runs what is missing of claim 1's xinet
python -m experiments.claims.structure --table    # the table of what is there
"""

from pathlib import Path

import numpy as np

from experiments.claims import results, tables
from experiments.claims.arms import SEEDS
from experiments.claims.claim import main


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns a line per layer that can be pruned, a column per task: units left of each seed."""
    found = {task: final_units(folder / task / arm) for task in tasks for arm in arms}
    found = {task: units for task, units in found.items() if units}
    layers = list(dict.fromkeys(layer for units in found.values() for layer in units))
    rows = [[layer, *(", ".join(f"{u:.0f}" for u in found[task][layer]) for task in found)] for layer in layers]
    return tables.markdown(["layer", *found], rows)


def units_over_time(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns environment steps, `[evaluations]`, and the units of each layer but heads, `[evaluations, seeds]`."""
    course = results.read(folder, "course")
    at = results.grouped(course, "environment_steps")
    names = [name for name in (course[0] if course else ()) if "/" in name and not name.endswith(("head", "predictor"))]
    return np.array(list(at)), {name: np.array([results.column(own, name) for own in at.values()]) for name in names}


def final_units(folder: Path) -> dict[str, np.ndarray]:
    """Returns the units that are left at the end, per layer that can be pruned, `[seeds]`."""
    return {name: units[-1] for name, units in units_over_time(folder)[1].items()}


if __name__ == "__main__":
    main(__doc__, ("xinet",), SEEDS, table)
