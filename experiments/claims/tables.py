"""Tables of results as Markdown."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.claims import results
from experiments.claims.arms import TRUNK
from experiments.claims.statistics import difference, interquartile_mean, share, trimmed

NOTHING = "nothing has been run yet"
PARTS = {"parameters": "parameters left", "ofenet": "OFENet", "actor": "actor", "critic": "critics"}
PARTS |= {"policy": "policy alone"}


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; a sentence if it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *lines]) if lines else NOTHING


def returns(
    folder: Path, tasks: Iterable[str], arms: Iterable[str], reference: str, without: Sequence[int] = ()
) -> str:
    """Returns a line per task and arm: returns, their difference from a reference arm's, and what is left.

    Returns are those of the saved policy in Gymnasium, and those in the last fifth of training; and at how many of the
    evaluations after `TRUNK`'s last step the interquartile mean is above the reference's. The last lines have all tasks
    together: returns as shares of the reference's interquartile mean on each task. The last fifth leaves out the
    evaluations at steps `without`.
    """
    rows, pairs = [], {}
    for task in tasks:
        theirs = _scores(folder / task / reference, without)
        for arm in arms:
            ours = _scores(folder / task / arm, without)
            if not ours:
                continue
            final = results.read(folder / task / arm, "final")
            compared = arm != reference and len(theirs) > 0
            gaps = [str(difference(*pair)) if compared else "" for pair in zip(ours, theirs or ours, strict=True)]
            saved, late = map(str, map(interquartile_mean, ours))
            ahead = above(folder / task / arm, folder / task / reference) if compared else ""
            rows.append([task, arm, saved, each_seed(final), gaps[0], late, gaps[1], ahead, *sizes(final)])
            if compared:
                pairs.setdefault(arm, []).append((ours, theirs))
    for arm, own in pairs.items():
        if len(own) > 1:
            ours, theirs = (zip(*scores, strict=True) for scores in zip(*own, strict=True))
            saved, late = (f"{share(*scores)} % of {reference}" for scores in zip(ours, theirs, strict=True))
            rows.append([f"all {len(own)}", arm, saved, "", "", late, "", "", *[""] * (1 + len(PARTS))])
    relative = f"relative to {reference}"
    headings = ["task", "arm", "return", "each seed", relative, "last fifth", f"last fifth {relative}"]
    headings += [f"above {reference}"]
    return markdown([*headings, *size_headings()], rows)


def return_columns(reference: str) -> list[str]:
    """Returns the headings of the columns of `returns` that a page shows."""
    return ["task", "arm", "return", f"relative to {reference}", "last fifth", "parameters left"]


def courses(folder: Path, tasks: Iterable[str], arms: Sequence[str]) -> str:
    """Returns a line per task and evaluation: each arm's return, and how many parameters it has in the mean."""
    rows = []
    for task in tasks:
        found = [results.grouped(results.read(folder / task / arm, "course"), "environment_steps") for arm in arms]
        for step in sorted(set().union(*found)):
            cells = (_at(course[step]) if step in course else ["", ""] for course in found)
            rows.append([task, f"{step:,.0f}", *itertools.chain(*cells)])
    return markdown(["task", "step", *itertools.chain(*([arm, "parameters"] for arm in arms))], rows)


def _at(rows: list[dict[str, float]]) -> list[str]:
    mean = interquartile_mean(results.column(rows, "return"))
    return [str(mean), f"{results.column(rows, 'parameters').mean():,.0f}"]


def _scores(folder: Path, without: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Returns each seed's return in Gymnasium and in the last fifth of training, `[seeds]` each; nothing if none."""
    final, course = results.read(folder, "final"), results.read(folder, "course")
    return scores(final, course, without) if final else ()


def scores(
    final: list[dict[str, float]], course: list[dict[str, float]], without: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each seed's return in Gymnasium and in the last fifth of training, `[seeds]` each."""
    return results.column(final, "return"), results.late_returns(course, without)


def above(ours: Path, theirs: Path) -> str:
    """Returns at how many evaluations after `TRUNK`'s last step the interquartile mean is above the other's.

    Of those that both have; where they are even, or one is not a number, neither is above.
    """
    courses = (results.grouped(results.read(own, "course"), "environment_steps") for own in (ours, theirs))
    means = [{step: trimmed(results.column(rows, "return")) for step, rows in course.items()} for course in courses]
    common = [step for step in means[0] if step > TRUNK.steps and step in means[1]]  # all trunks are as long
    return f"{sum(means[0][step] > means[1][step] for step in common)} of {len(common)}"


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
