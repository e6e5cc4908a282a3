"""Draws the figures of docs/results.md from the committed results, and renews the page's tables.

The page shows some columns of each table; the whole table is written to docs/results/NAME.csv.

python -m experiments.claims.figures
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments import pages
from experiments.claims import (
    prices,
    pruned_vs_dense,
    published_sizes,
    results,
    same_size,
    speed,
    structure,
    tables,
)
from experiments.claims.arms import PRICES_STEPS, SEEDS
from experiments.claims.statistics import interquartile_mean

PAGE = Path("docs/results.md")
CLAIMS = {
    "pruned_vs_dense": (pruned_vs_dense, tuple(SEEDS), pruned_vs_dense.ARMS),
    "same_size": (same_size, same_size.TASKS, same_size.ARMS),
    "prices": (prices, prices.TASKS, prices.ARMS),
    "speed": (speed, tuple(SEEDS), speed.ARMS),
    "structure": (structure, tuple(SEEDS), ("xinet",)),
    "published_sizes": (published_sizes, published_sizes.TASKS, published_sizes.ARMS),
}
# The columns that the page shows of each wide table.
SPEED_COLUMNS = ["task", "arm", "updates/s before", "after", "after / before", "whole run"]
COLUMNS = {
    "pruned_vs_dense": [tables.return_columns("ofenet")],
    "same_size": [tables.return_columns("xinet")],
    "prices": [["task", "ν", "arm", "return", "last fifth", "parameters left"]],
    "speed": [SPEED_COLUMNS],
    "published_sizes": [tables.return_columns("paper-ofenet"), SPEED_COLUMNS],
}
COLORS = {"xinet": "C0", "ofenet": "C1", "sac": "C2", "small": "C3", "uniform": "C4", "magnitude": "C5", "random": "C6"}
COLORS |= {"paper-xinet": "C0", "paper-ofenet": "C1", "paper-small": "C3"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="folder of results")
    parser.add_argument(
        "--page", type=Path, default=PAGE, help="page to renew; figures and whole tables go into the folder of its name"
    )
    given = parser.parse_args()
    for path in (given.results, given.page):
        if not path.exists():
            parser.error(f"there is no {path}")
    folder = given.page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        figure = draw(given.results)
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=110)
            print(folder / f"{name}.png")
    for name, text in csv_files(given.results).items():
        (folder / name).write_text(text)
        print(folder / name)
    given.page.write_text(renewed(given.page.read_text(), given.results))


def claim_tables(folder: Path) -> dict[str, list[str]]:
    """Returns the Markdown tables of each claim; most claims have one, `published_sizes` has a second, of speed."""
    return {
        name: claim.table(folder, list(tasks), list(arms)).split("\n\n")
        for name, (claim, tasks, arms) in CLAIMS.items()
    }


def renewed(page: str, folder: Path) -> str:
    """Returns a page with the tables between each claim's marks, `<!-- NAME -->` and `<!-- end -->`, taken anew."""
    for name, of_claim in claim_tables(folder).items():
        shown = [
            pages.extract(table, COLUMNS[name][number]) if pages.is_wide(table) else table
            for number, table in enumerate(of_claim)
        ]
        page = pages.renewed(page, name, "\n\n".join(shown))
    return page


def csv_files(folder: Path) -> dict[str, str]:
    """Returns the text of each CSV file of whole tables, by file name; tables that fit on the page have none."""
    named = {
        f"{name}{('', '_speed')[number]}": table
        for name, of_claim in claim_tables(folder).items()
        for number, table in enumerate(of_claim)
    }
    return {f"{name}.csv": pages.as_csv(table) for name, table in named.items() if pages.is_wide(table)}


def learning_curves(folder: Path, arms: Iterable[str], tasks: Iterable[str]) -> Figure | None:
    """Draws returns and numbers of parameters over environment steps, a column for each task."""
    tasks = [task for task in tasks if any(results.read(folder / task / arm, "course") for arm in arms)]
    if not tasks:
        return None
    figure, axes = panels(2, len(tasks))
    for column, task in enumerate(tasks):
        for arm in arms:
            course = results.read(folder / task / arm, "course")
            if course:
                band(axes[0, column], course, "environment_steps", "return", arm)
                band(axes[1, column], course, "environment_steps", "parameters", arm, 1e-3)
        axes[0, column].set_title(task)
        axes[1, column].set_xlabel("environment steps")
        axes[1, column].set_ylim(0)
    axes[0, 0].set_ylabel("return in training\n(interquartile mean, 95%)")
    axes[1, 0].set_ylabel("parameters [thousands]")
    legend(figure)
    return figure


def band(axes: Axes, course: list[dict], x: str, y: str, arm: str, scale: float = 1) -> None:
    """Draws the interquartile mean over seeds and its interval, evaluation by evaluation."""
    at = results.grouped(course, "environment_steps").values()
    found = [interquartile_mean(scale * results.column(rows, y)) for rows in at]
    places = [results.column(rows, x).mean() for rows in at]
    axes.plot(places, [own.value for own in found], color=COLORS[arm], label=arm)
    axes.fill_between(places, [own.low for own in found], [own.high for own in found], color=COLORS[arm], alpha=0.2)


def return_over_size(folder: Path) -> Figure | None:
    """Draws every seed's return over the number of parameters, of all arms of claims 1 and 2."""
    tasks = [task for task in same_size.TASKS if results.read(folder / task / "xinet", "final")]
    if not tasks:
        return None
    figure, axes = panels(1, len(tasks))
    for column, task in enumerate(tasks):
        own = axes[0, column]
        for arm, color in COLORS.items():
            found = results.read(folder / task / arm, "final")
            if found and not arm.startswith("paper"):
                sizes = results.column(found, "parameters") / 1e3
                own.scatter(sizes, results.column(found, "return"), s=16, color=color, label=arm)
        own.set_title(task)
        own.set_xlabel("parameters [thousands]")
    axes[0, 0].set_ylabel("return in Gymnasium, every seed")
    legend(figure)
    return figure


def by_price(folder: Path) -> Figure | None:
    """Draws returns over the number of parameters: XiNet by price, beside it other ways to as many; and the dense."""
    tasks = [task for task in prices.TASKS if prices.by_price(folder / task, "prices")]
    if not tasks:
        return None
    figure, axes = panels(1, len(tasks))
    for column, task in enumerate(tasks):
        own = axes[0, column]
        dense = results.grouped(results.read(folder / task / "ofenet", "course"), "environment_steps").get(PRICES_STEPS)
        if dense:
            mean = interquartile_mean(results.column(dense, "return")).value
            own.axhline(mean, color=COLORS["ofenet"], linestyle="--", label="ofenet")
        for arm in prices.ARMS:
            name = prices.name_of(arm)
            aside = 1 + 0.04 * list(COLORS).index(name)  # where they have as many, marks would hide each other
            for nu, (rows, _) in prices.by_price(folder / task, arm).items():
                size = results.column(rows, "parameters").mean() / 1e3
                mean = interquartile_mean(results.column(rows, "return"))
                spread = [[mean.value - mean.low], [mean.high - mean.value]]
                own.errorbar(
                    [aside * size], [mean.value], spread, fmt="o", markersize=4, color=COLORS[name], label=name
                )
                if arm == "prices":
                    place = {"textcoords": "offset points", "xytext": (0, 4), "fontsize": 8, "ha": "center"}
                    own.annotate(f"ν {nu:g}", (size, mean.high), **place)
        own.set_title(task)
        own.set_xscale("log")
        own.set_xlabel(f"parameters [thousands], after {PRICES_STEPS:,} steps")
        own.margins(0.15)
    axes[0, 0].set_ylabel("return\n(interquartile mean, 95%)")
    legend(figure)
    return figure


def speeds(folder: Path) -> Figure | None:
    """Draws updates per second over steps, and returns over time at each run's own pace before pruning."""
    tasks = [task for task in SEEDS if results.read(folder / task / "xinet", "course")]
    if not tasks:
        return None
    figure, axes = panels(2, len(tasks))
    for column, task in enumerate(tasks):
        start, _ = speed.pruned_between(folder / task / "xinet")
        for arm in speed.ARMS:
            steps, rate = speed.rates(folder / task / arm)
            course = results.read(folder / task / arm, "course")
            if course:
                axes[0, column].plot(steps, rate, color=COLORS[arm], label=arm)
            pace = speed.pace(folder / task / arm, start)
            if course and not np.isnan(pace):
                timed = [row | {"time": row["seconds"] / pace} for row in course]
                band(axes[1, column], timed, "time", "return", arm)
        axes[0, column].set_title(task)
        axes[0, column].set_xlabel("environment steps")
        axes[0, column].set_ylim(0)
        axes[1, column].set_xlabel("time [steps at the pace before pruning]")
    axes[0, 0].set_ylabel("updates per second, all seeds")
    axes[1, 0].set_ylabel("return in training")
    legend(figure)
    return figure


def widths(folder: Path) -> Figure | None:
    """Draws what is left of every layer over time, as means over seeds, and the seeds' range at the end."""
    found = {task: structure.units_over_time(folder / task / "xinet") for task in SEEDS}
    found = {task: (steps, units) for task, (steps, units) in found.items() if units}
    if not found:
        return None
    groups = {"state branch": "ofenet/state", "action branch": "ofenet/action", "actor": "actor", "critics": "critic"}
    figure, axes = panels(len(groups), len(found), height=2.2)
    for column, (task, (steps, units)) in enumerate(found.items()):
        for row, (title, prefix) in enumerate(groups.items()):
            own = {name: counts for name, counts in units.items() if name.startswith(prefix)}
            for name, counts in own.items():
                axes[row, column].plot(
                    steps, counts.mean(axis=1), label=name.removeprefix("ofenet/").replace("/", ", ")
                )
                axes[row, column].fill_between(steps, counts.min(axis=1), counts.max(axis=1), alpha=0.15)
            axes[row, column].set_title(f"{task}: {title}", fontsize=9)
            axes[row, column].set_ylim(0)
        axes[-1, column].set_xlabel("environment steps")
    for row in range(len(groups)):
        axes[row, 0].set_ylabel("units: mean, range")
        if axes[row, 0].lines:
            axes[row, 0].legend(fontsize=7)
    return figure


def panels(rows: int, columns: int, height: float = 3.2) -> tuple[Figure, np.ndarray]:
    """Returns a figure and its axes, `[rows, columns]`."""
    figure = Figure(figsize=(4.2 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def legend(figure: Figure) -> None:
    """Adds a legend with every label of any of a figure's axes, once."""
    found = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=min(len(found), 4), fontsize=8)


FIGURES: dict[str, Callable[[Path], Figure | None]] = {
    "pruned_vs_dense": lambda folder: learning_curves(folder, pruned_vs_dense.ARMS, SEEDS),
    "same_size": lambda folder: learning_curves(folder, same_size.ARMS, same_size.TASKS),
    "return_over_size": return_over_size,
    "prices": by_price,
    "speed": speeds,
    "structure": widths,
    "published_sizes": lambda folder: learning_curves(folder, published_sizes.ARMS, published_sizes.TASKS),
}


if __name__ == "__main__":
    main()
