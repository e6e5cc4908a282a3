"""Tables and figure: returns by ranking, and which measures go with the later return."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from experiments.claims.statistics import interquartile_mean
from experiments.claims.tables import NOTHING, markdown

DENSE, RANDOM = "dense", "random"
LATE = 2  # evaluations, the last ones, whose mean is the later return
HARM = ("harm_critic", "harm_actor", "harm_ofenet")
WHEN = (0, 100, 1_000)  # updates after the cut at which measures are compared with the later return

Returns = dict[str, dict[int, dict[int, float]]]  # by ranking, seed and updates
Measures = dict[str, dict[int, dict[tuple[int, str], float]]]  # by ranking, seed, and updates with the measure


def read(folder: Path, task: str, share: str) -> tuple[Returns, Measures]:
    """Returns the results of one task and share."""
    returns, measures = defaultdict(lambda: defaultdict(dict)), defaultdict(lambda: defaultdict(dict))
    for row in _rows(folder / "returns.csv", task, share):
        returns[row["ranking"]][int(row["seed"])][int(row["updates"])] = float(row["return"])
    for row in _rows(folder / "measures.csv", task, share):
        measures[row["ranking"]][int(row["seed"])][int(row["updates"]), row["measure"]] = float(row["value"])
    return returns, measures


def kinds(folder: Path) -> list[tuple[str, str]]:
    """Returns the tasks and shares that there are results of."""
    return list(dict.fromkeys((row["task"], row["share"]) for row in _rows(folder / "returns.csv")))


def tables(folder: Path) -> str:
    """Returns every table, in Markdown."""
    texts = []
    for task, share in kinds(folder):
        texts += [f"{task}, {float(share):.0%} of the parameters left", by_ranking(*read(folder, task, share))]
        texts += [differences(read(folder, task, share)[0]), by_measure(*read(folder, task, share))]
    return "\n\n".join(texts)


def later(of_seed: dict[int, float]) -> float:
    """Returns the mean of the last evaluations of one seed."""
    return float(np.mean([of_seed[updates] for updates in sorted(of_seed)[-LATE:]]))


def by_ranking(returns: Returns, measures: Measures) -> str:
    """Returns a line per ranking: what the cut did, and the returns at once and later."""
    rows = []
    for name, of_ranking in returns.items():
        harm = [np.median([seed.get((0, what), np.nan) for seed in measures[name].values()]) for what in HARM]
        at_once = interquartile_mean(np.array([seed[0] for seed in of_ranking.values()]))
        late = interquartile_mean(np.array([later(seed) for seed in of_ranking.values()]))
        rows.append((name, *(f"{value:.1f}" for value in harm), f"{at_once.value:.0f}", str(late)))
    rows.sort(key=lambda row: -float(row[-1].split()[0]))
    heads = ("ranking", "critics [nats]", "actor [nats]", "OFENet [nats]", "return at once", "later return")
    return markdown(heads, rows)


def differences(returns: Returns) -> str:
    """Returns a line per ranking: returns less those of units chosen at random, seed by seed, with 95% intervals."""
    if RANDOM not in returns:
        return NOTHING
    rows = []
    for name, of_ranking in returns.items():
        if name == RANDOM:
            continue
        cells = []
        for updates in sorted(next(iter(of_ranking.values()))):
            ours, theirs = ({seed: of[updates] for seed, of in each.items()} for each in (of_ranking, returns[RANDOM]))
            cells.append(paired(ours, theirs))
        rows.append((name, *cells))
    steps = sorted(next(iter(returns[RANDOM].values())))
    return markdown(("ranking", *(f"{updates:,} updates" for updates in steps)), rows)


def means(name: str, unit: str, returns: Mapping[str, Mapping[int, Sequence[float]]], shown: Sequence[int]) -> str:
    """Returns a line per name of `returns`: means over seeds, and half the width of their 95% intervals.

    Args:
      name: heading of the first column.
      unit: heading of the others; `{}` stands for the step.
      returns: of each seed, by name and step.
      shown: steps of the columns.
    """
    heads = (name, *(unit.format(f"{step:,}") for step in shown))
    cells = lambda of_name: [interval(of_name[step]) if step in of_name else "" for step in shown]  # noqa: E731
    return markdown(heads, [(key, *cells(of_name)) for key, of_name in returns.items()])


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """Returns the mean of differences, seed by seed, and half the width of its 95% interval."""
    return interval([ours[seed] - theirs[seed] for seed in ours])


def interval(values: Sequence[float], digits: int = 0) -> str:
    """Returns the mean and the half width of its 95% interval by Student's t distribution."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 * stats.t.ppf(0.975, len(values) - 1)
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def by_measure(returns: Returns, measures: Measures) -> str:
    """Returns a line per measure: its rank correlation with the later return, over the rankings of each seed."""
    rankings = [name for name in returns if name != DENSE]
    seeds = sorted(returns[rankings[0]]) if rankings else []
    names = sorted({name for ranking in rankings for of_seed in measures[ranking].values() for _, name in of_seed})
    rows = []
    for name in names:
        cells = [correlation(returns, measures, rankings, seeds, updates, name) for updates in WHEN]
        if any(cells):
            rows.append((name, *(cell or "" for cell in cells)))
    return markdown(("measure", *(f"{updates:,} updates after the cut" for updates in WHEN)), rows)


def correlation(
    returns: Returns, measures: Measures, rankings: list[str], seeds: list[int], updates: int, name: str
) -> str:
    """Returns the mean over seeds of the rank correlation over rankings, with its 95% interval; empty if unknown."""
    values = []
    for seed in seeds:
        measured = [measures[ranking][seed].get((updates, name)) for ranking in rankings]
        if None in measured or len(set(measured)) < 2:
            continue
        late = [later(returns[ranking][seed]) for ranking in rankings]
        values.append(stats.spearmanr(measured, late)[0])
    if len(values) < 2 or len(rankings) < 3:
        return ""
    return interval(values, digits=2)


def draw(folder: Path, file: Path) -> None:
    """Draws returns over the updates after the cut, a line per ranking."""
    import matplotlib.pyplot as plt

    every = kinds(folder)
    figure, axes = plt.subplots(1, len(every), figsize=(5.5 * len(every), 4), squeeze=False)
    for axis, (task, share) in zip(axes[0], every, strict=True):
        returns, _ = read(folder, task, share)
        for name, of_ranking in returns.items():
            updates = sorted(next(iter(of_ranking.values())))
            means = [np.mean([seed[step] for seed in of_ranking.values()]) for step in updates]
            style = {"color": "black", "linestyle": "--"} if name == DENSE else {}
            axis.plot(updates, means, marker="o", markersize=3, label=name, **style)
        axis.set(xlabel="updates after the cut", ylabel="return", title=f"{task}, {float(share):.0%} left")
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def _rows(file: Path, task: str | None = None, share: str | None = None) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [row for row in rows if task is None or (row["task"], row["share"]) == (task, share)]
