"""Claim 5: what is left, and does it differ from seed to seed? From the runs of claim 1, which this completes first.

python -m experiments.claims.structure            # runs what is missing of claim 1's xinet
python -m experiments.claims.structure --table    # the table of what is there
"""

from pathlib import Path

import numpy as np

from experiments.claims import results, tables
from experiments.claims.arms import SEEDS
from experiments.claims.claim import main

# Layers whose units are counted together, by how their names begin.
GROUPS = {
    "state branch": ("ofenet/state",),
    "action branch": ("ofenet/action",),
    "actor, first layer": ("actor/hidden_1",),
    "actor, second": ("actor/hidden_2",),
    "critics, first layer": ("critic_1/hidden_1", "critic_2/hidden_1"),
    "critics, second": ("critic_1/hidden_2", "critic_2/hidden_2"),
}


def table(folder: Path, tasks: list[str], arms: list[str]) -> str:
    """Returns a line per layer that can be pruned, a column per task: units left of each seed.

    Lines before these have layers together: shares of their units that are left, as means over seeds and of each seed.
    """
    found = {task: units_over_time(folder / task / arm)[1] for task in tasks for arm in arms}
    found = {task: units for task, units in found.items() if units}
    layers = list(dict.fromkeys(layer for units in found.values() for layer in units))
    rows = [[f"*{group}*", *(_share(units, names) for units in found.values())] for group, names in GROUPS.items()]
    rows = [row for row in rows if any(row[1:])]
    rows += [[layer, *(", ".join(f"{u:.0f}" for u in found[task][layer][-1]) for task in found)] for layer in layers]
    return tables.markdown(["layer", *found], rows)


def _share(units: dict[str, np.ndarray], names: tuple[str, ...]) -> str:
    """Returns what is left of the units of layers whose names begin so; nothing if there are none."""
    own = [counts for layer, counts in units.items() if layer.startswith(names)]
    if not own:
        return ""
    total = np.sum(own, axis=0)
    shares = total[-1] / total[0]
    return f"{shares.mean():.0%} ({', '.join(f'{100 * share:.0f}' for share in shares)})"


def units_over_time(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns environment steps, `[evaluations]`, and the units of each layer but heads, `[evaluations, seeds]`."""
    course = results.read(folder, "course")
    at = results.grouped(course, "environment_steps")
    names = [name for name in (course[0] if course else ()) if "/" in name and not name.endswith(("head", "predictor"))]
    return np.array(list(at)), {name: np.array([results.column(own, name) for own in at.values()]) for name in names}


if __name__ == "__main__":
    main(__doc__, ("xinet",), SEEDS, table)
