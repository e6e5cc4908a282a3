"""The trade-off curve of a run with several prices: return against the share of parameters left."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from xinet_jax.config import price_text
from xinet_jax.telemetry.progress import whole


class Point(NamedTuple):
    """One member: its price [nats], seed, parameters left as a share of the dense agent's, and return."""

    nu: float
    seed: int
    parameters_left: float
    episode_return: float


def save_table(points: Sequence[Point], path: Path) -> None:
    """Writes one line per member as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["nu", "seed", "parameters_left", "return"])
        writer.writerows(
            [price_text(p.nu), p.seed, f"{p.parameters_left:.4f}", f"{p.episode_return:.1f}"] for p in points
        )


def trade_off_table(points: Sequence[Point]) -> Table:
    """Returns one line per price: means over seeds, and their range."""
    table = Table(title="Trade-off", title_justify="left")
    for heading in ("nu", "seeds", "parameters left", "return", "lowest", "highest"):
        table.add_column(heading, justify="right")
    for nu, own in _by_price(points):
        returns = [p.episode_return for p in own]
        left = np.mean([p.parameters_left for p in own])
        numbers = (whole(value) for value in (np.mean(returns), min(returns), max(returns)))
        table.add_row(price_text(nu), str(len(own)), f"{left:.1%}", *numbers)
    return table


def save_figure(points: Sequence[Point], task: str, path: Path) -> None:
    """Draws every member, and a line through the means over seeds, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.scatter([100 * p.parameters_left for p in points], [p.episode_return for p in points], s=14, alpha=0.5)
    means = [
        (nu, 100 * np.mean([p.parameters_left for p in own]), np.mean([p.episode_return for p in own]))
        for nu, own in _by_price(points)
    ]
    axes.plot([left for _, left, _ in means], [value for _, _, value in means], "o-", color="black")
    for nu, left, value in means:
        axes.annotate(f"ν = {price_text(nu)}", (left, value), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel("parameters left [% of the dense agent's]")
    axes.set_ylabel("return")
    axes.set_title(f"{task}: mean over seeds, and every seed")
    axes.set_xlim(0, 112)  # room for the last label
    figure.savefig(path, dpi=150)


def _by_price(points: Sequence[Point]) -> list[tuple[float, list[Point]]]:
    return [(nu, [p for p in points if p.nu == nu]) for nu in sorted({p.nu for p in points})]
