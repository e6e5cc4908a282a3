"""Tables of results as Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.claims import results
from experiments.claims.statistics import difference, interquartile_mean

NOTHING = "nothing has been run yet"
PARTS = {"parameters": "parameters left", "ofenet": "OFENet", "actor": "actor", "critic": "critics"}
PARTS |= {"policy": "policy alone"}


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; a sentence if it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines]) if lines else NOTHING


def returns(folder: Path, tasks: Iterable[str], arms: Iterable[str], reference: str) -> str:
    """Returns a line per task and arm: returns in Gymnasium, the difference from a reference arm, and what is left.

    The last lines have all tasks together: returns as shares of the reference's interquartile mean on each task.
    """
    rows, shares = [], {}
    for task in tasks:
        theirs = results.column(results.read(folder / task / reference, "final"), "return")
        for arm in arms:
            ours = results.read(folder / task / arm, "final")
            if not ours:
                continue
            scores = results.column(ours, "return")
            compared = arm != reference and len(theirs) > 0
            gap = str(difference(scores, theirs)) if compared else ""
            rows.append([task, arm, str(interquartile_mean(scores)), each_seed(ours), gap, *sizes(ours)])
            if compared:
                shares.setdefault(arm, []).append(100 * scores / interquartile_mean(theirs).value)
    for arm, own in shares.items():
        if len(own) > 1:
            pooled = f"{interquartile_mean(*own)} % of {reference}'s"
            rows.append([f"all {len(own)}", arm, pooled, "", "", *[""] * (1 + len(PARTS))])
    return markdown(["task", "arm", "return", "each seed", f"less {reference}'s", *size_headings()], rows)


def each_seed(rows: list[dict[str, float]]) -> str:
    """Returns every seed's return, and which diverged."""
    return ", ".join(f"{row['return']:.0f}" + " (diverged)" * (row["diverged"] > 0) for row in rows)


def size_headings() -> list[str]:
    """Returns the headings of `sizes`."""
    return ["parameters", *PARTS.values()]


def sizes(rows: list[dict[str, float]]) -> list[str]:
    """Returns how many parameters there are, and the share of each part that is left, as means over seeds."""
    return [f"{results.column(rows, 'parameters').mean():,.0f}", *(_share(rows, part) for part in PARTS)]


def _share(rows: list[dict[str, float]], part: str) -> str:
    value = float(results.column(rows, f"{part}_left").mean())
    return "none" if np.isnan(value) else f"{value:.0%}"
