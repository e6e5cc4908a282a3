"""How return and parameters left trade off in a run whose agents have several prices, or other hyper-parameters."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from xinet_jax.config import value_text
from xinet_jax.telemetry.progress import whole


class Point(NamedTuple):
    """One member.

    Attributes:
      settings: the hyper-parameters in which the run's members differ, by name.
      seed: its seed.
      parameters_left: as a share of the dense agent's.
      episode_return: its return.
    """

    settings: dict[str, float]
    seed: int
    parameters_left: float
    episode_return: float


def save_table(points: Sequence[Point], path: Path) -> None:
    """Writes one line per member as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*points[0].settings, "seed", "parameters_left", "return"])
        for p in points:
            figures = f"{p.parameters_left:.4f}", f"{p.episode_return:.1f}"
            writer.writerow([*map(value_text, p.settings.values()), p.seed, *figures])


def trade_off_table(points: Sequence[Point]) -> Table:
    """Returns one line per combination of hyper-parameters: means over seeds, and their range."""
    table = Table(title="Trade-off", title_justify="left")
    for heading in (*points[0].settings, "seeds", "parameters left", "return", "lowest", "highest"):
        table.add_column(heading, justify="right")
    for settings, group in _alike(points):
        returns = [p.episode_return for p in group]
        left = np.mean([p.parameters_left for p in group])
        numbers = (whole(value) for value in (np.mean(returns), min(returns), max(returns)))
        table.add_row(*map(value_text, settings.values()), str(len(group)), f"{left:.1%}", *numbers)
    return table


def save_figure(points: Sequence[Point], task: str, path: Path) -> None:
    """Draws every member and, through the means over seeds, a line from price to price as PNG.

    Each combination of the other hyper-parameters has a line of its own.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    lines: dict[str, list[tuple[float, float, float]]] = {}
    for settings, group in _alike(points):
        left = [100 * p.parameters_left for p in group]
        returns = [p.episode_return for p in group]
        name = ", ".join(f"{name} {value_text(value)}" for name, value in settings.items() if name != "nu")
        lines.setdefault(name, []).append((settings["nu"], float(np.mean(left)), float(np.mean(returns))))
        axes.scatter(left, returns, s=14, alpha=0.5, color=_color(lines, name))
    for name, means in lines.items():
        axes.plot([m[1] for m in means], [m[2] for m in means], "o-", color=_color(lines, name), label=name or None)
        for nu, left, value in means:
            axes.annotate(f"ν = {value_text(nu)}", (left, value), textcoords="offset points", xytext=(6, 6))
    if len(lines) > 1:
        axes.legend()
    axes.set_xlabel("parameters left [% of the dense agent's]")
    axes.set_ylabel("return")
    axes.set_title(f"{task}: mean over seeds, and every seed")
    axes.set_xlim(0, 112)  # room for the last label
    figure.savefig(path, dpi=150)


def _color(lines: dict[str, list], name: str) -> str:
    return f"C{list(lines).index(name)}"


def _alike(points: Sequence[Point]) -> Iterator[tuple[dict[str, float], list[Point]]]:
    """Yields every combination of hyper-parameters, sorted, and the members that have it."""
    for values in sorted({tuple(p.settings.values()) for p in points}):
        group = [p for p in points if tuple(p.settings.values()) == values]
        yield group[0].settings, group
