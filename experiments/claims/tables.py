"""Tables of results as Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.claims import results
from experiments.claims.statistics import difference, interquartile_mean

NOTHING = "nothing has been run yet"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; a sentence if it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines]) if lines else NOTHING


def returns(folder: Path, tasks: Iterable[str], arms: Iterable[str], reference: str) -> str:
    """Returns a line per task and arm: returns in Gymnasium, the difference from a reference arm, and what is left."""
    arms = list(arms)
    headings = ["task", "arm", "return", "each seed", f"less that of {reference}"]
    rows = []
    for task in tasks:
        theirs = results.read(folder / task / reference, "final")
        for arm in arms:
            ours = results.read(folder / task / arm, "final")
            if not ours:
                continue
            scores = results.column(ours, "return")
            row = [task, arm, str(interquartile_mean(scores)), ", ".join(f"{score:.0f}" for score in scores)]
            compared = arm != reference and bool(theirs)
            row.append(str(difference(scores, results.column(theirs, "return"))) if compared else "")
            rows.append([*row, *(share(ours, part) for part in ("parameters", "ofenet", "actor", "critic", "policy"))])
    return markdown([*headings, "parameters left", "OFENet", "actor", "critics", "policy alone"], rows)


def share(rows: list[dict[str, float]], part: str) -> str:
    """Returns the share of a part that is left, as a mean over seeds."""
    value = float(results.column(rows, f"{part}_left").mean())
    return "none" if np.isnan(value) else f"{value:.0%}"
