"""Charts as plotly's figures: plain dicts of data and layout, in which colours are variables of page.css."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xinet_jax.config import round_of
from xinet_jax.report.groups import Group, short_mean, whole_runs
from xinet_jax.report.series import Interval, mean_interval
from xinet_jax.telemetry.progress import duration

Figure = dict[str, Any]
_SMALL, _LARGE = 260, 400  # heights [pixels]
_HIDDEN_LAYERS = ("state_", "action_", "hidden_")  # whose units carry gates


def line_chart(
    groups: Sequence[Group],
    name: str,
    unit: str,
    digits: str = ",.4~g",
    percent: bool = False,
    large: bool = False,
    spread: bool = True,
) -> Figure | None:
    """Returns a chart of a number over environment steps: mean, interval and every member; None if nothing has it.

    Args:
      groups: one line each.
      name: of the number (`Group.curves`).
      unit: title of the vertical axis.
      digits: how labels write the number, in d3's format.
      percent: whether it is a share, shown in percent from 0 to 100.
      large: whether it has the full width of the page, and a legend.
      spread: whether to show how members differ.
    """
    curves = [group.curves(name) for group in groups]
    if not any(np.isfinite(curve.values).any() for curve in curves):
        return None
    factor = 100.0 if percent else 1.0
    behind, between, before, shown = [], [], [], []
    for group, curve in zip(groups, curves, strict=True):
        there = np.isfinite(curve.values).any(axis=0)
        line = _Line(group, curve.steps[there], factor * curve.values[:, there], digits, "%" if percent else "")
        if spread and len(group.members) > 1:
            behind += line.band() if np.isfinite(line.interval.low).any() else []
            between += line.members()
        before.append(line.mean(spread))
        shown.append(line)
    axis = {"title": {"text": unit}, "range": [0, 104] if percent else _range(shown)}
    layout = _layout(groups, _LARGE if large else _SMALL, axis)
    layout |= _pruning_time(groups) if large else {"showlegend": False}
    return {"data": behind + between + before, "layout": layout}


class _Line:
    """A group's line in a chart. `values`: `[members, points]`."""

    def __init__(self, group: Group, steps: np.ndarray, values: np.ndarray, digits: str, sign: str) -> None:
        self.values, self.interval = values, mean_interval(values)
        self._steps, self._digits, self._sign = steps, digits, sign
        self._color, self._dash, self._name = f"--color-{group.color}", group.dash, html.escape(group.label)

    def band(self) -> list[dict[str, Any]]:
        """Returns the ends of the interval of the mean, with the colour between them."""
        known = np.isfinite(self.interval.low)
        end = self._trace(self._steps[known]) | {"hoverinfo": "skip", "showlegend": False, "line": {"width": 0}}
        between = {"fill": "tonexty", "fillcolor": f"faint({self._color})"}
        low, high = (_numbers(values[known]) for values in self.interval[1:])
        return [end | {"y": low}, end | {"y": high} | between]

    def members(self) -> list[dict[str, Any]]:
        """Returns a thin line for each member."""
        line = {"color": f"var({self._color})", "width": 1, "dash": self._dash}
        thin = {"line": line, "opacity": 0.4, "meta": "member", "hoverinfo": "skip", "showlegend": False}
        return [self._trace(self._steps) | thin | {"y": _numbers(row)} for row in self.values]

    def mean(self, spread: bool) -> dict[str, Any]:
        """Returns the line of the mean, with labels."""
        color, label = f"var({self._color})", f"%{{y:{self._digits}}}{self._sign}"
        trace = self._trace(self._steps) | {"y": _numbers(self.interval.mean), "name": self._name}
        trace["line"] = {"color": color, "width": 2.25, "dash": self._dash}
        if len(self._steps) <= 40:
            trace |= {"mode": "lines+markers", "marker": {"size": 5, "color": color}}
        _, low, high = self.interval
        if spread and len(low) and np.isfinite(low).all():
            trace["customdata"] = [list(pair) for pair in zip(_numbers(low), _numbers(high), strict=True)]
            low_label, high_label = (f"%{{customdata[{end}]:{self._digits}}}{self._sign}" for end in (0, 1))
            label += f" (95%: {low_label} to {high_label})"
        return trace | {"hovertemplate": label}

    def _trace(self, steps: np.ndarray) -> dict[str, Any]:
        return {"type": "scatter", "mode": "lines", "x": _numbers(steps), "legendgroup": self._name}


def speed_chart(groups: Sequence[Group]) -> Figure | None:
    """Returns the chart of updates per second, with compactions marked; None if nothing was measured.

    One line per run: its members take their updates together.
    """
    runs = whole_runs(groups)
    figure = line_chart(runs, "updates_per_second", "updates per second", ",.0f", large=True, spread=False)
    if figure is None:
        return None
    figure["layout"] |= {"shapes": [], "annotations": [], "showlegend": len(runs) > 1}
    figure["layout"]["yaxis"] |= {"rangemode": "tozero", "range": None}
    for group in runs:
        if group.run.compactions:
            _mark_compactions(figure, group, len(runs) > 1)
    return figure


def _mark_compactions(figure: Figure, group: Group, several: bool) -> None:
    """Adds a line and a labelled point for each compaction of a run."""
    color = f"var(--color-{group.color})" if several else "var(--muted)"
    cycle = round_of(group.run.config)
    points, labels, heights = [], [], []
    for compaction in group.run.compactions:
        before, after = (
            None if rate is None else rate * cycle.updates / cycle.steps
            for rate in (compaction.rate_before, compaction.rate_after)
        )
        change = "too late to be measured" if None in (before, after) else f"{before:,.0f} → {after:,.0f} updates/s"
        labels.append(
            f"compacted at step {compaction.steps:,}: arrays need {compaction.flops_left:.0%} of the dense FLOPs;<br>"
            f"it took {duration(compaction.seconds)}; {change}"
        )
        points.append(compaction.steps)
        heights.append(_number(after or before or 0.0))
        place = {"type": "line", "x0": compaction.steps, "x1": compaction.steps, "yref": "paper", "y0": 0, "y1": 1}
        figure["layout"]["shapes"].append(place | {"line": {"color": color, "width": 1, "dash": "dot"}})
    marker = {"symbol": "triangle-down", "size": 11, "color": color}
    name = f"compactions of {html.escape(group.run.name)}" if several else "compaction"
    trace = {"type": "scatter", "mode": "markers", "x": points, "y": heights, "marker": marker, "name": name}
    figure["data"].append(trace | {"customdata": labels, "hovertemplate": "%{customdata}<extra></extra>"})


def units_chart(group: Group) -> Figure | None:
    """Returns the heat map of the share of units that each layer has left over environment steps.

    Means over the group's members. None if no layer can lose units.
    """
    widths = [member.widths() for member in group.members]
    layers = [name for name in widths[0] if name.partition("/")[2].startswith(_HIDDEN_LAYERS)]
    if not group.run.prunes or not layers:
        return None
    shares, counts = [], []
    for layer in layers:
        steps, units = group.units(layer)
        before = max(np.mean([width[layer][0] for width in widths]), 1)
        mean = mean_interval(units).mean
        shares.append(_numbers(100 * mean / before))
        counts.append([f"{short_mean(value)} of {short_mean(before)} units" for value in mean])
    scale = [[0.0, "var(--heat-0)"], [0.5, "var(--heat-1)"], [1.0, "var(--heat-2)"]]
    trace = {
        "type": "heatmap",
        "x": _numbers(steps),
        "y": [layer_name(layer) for layer in layers],
        "z": shares,
        "text": counts,
        "zmin": 0,
        "zmax": 100,
        "colorscale": scale,
        "ygap": 2,
        "colorbar": {"title": {"text": "units left [%]", "side": "right"}, "thickness": 10, "outlinewidth": 0},
        "hovertemplate": "%{y}, step %{x:,}<br>%{text} (%{z:.0f}%)<extra></extra>",
    }
    layout = _layout([group], 90 + 22 * len(layers), {"autorange": "reversed", "automargin": True})
    return {"data": [trace], "layout": layout | {"hovermode": "closest"}}


def trade_off_chart(groups: Sequence[Group]) -> Figure | None:
    """Returns the chart of return over parameters left, a point per group and a line per run.

    None if there is one group, or if nothing is pruned.
    """
    if len(groups) < 2 or not any(group.run.prunes for group in groups):
        return None
    traces, shown = [], []
    runs: dict[int, list[Group]] = {}
    for group in groups:
        runs.setdefault(id(group.run), []).append(group)
    for of_run in runs.values():
        means = []
        for group in of_run:
            left = np.array([100 * member.parameters_left for member in group.members])
            returns = np.array([member.final_return for member in group.members])
            color = f"var(--color-{group.color})"
            seeds = [f"seed {member.seed}" for member in group.members]
            dots = {"type": "scatter", "mode": "markers", "x": _numbers(left), "y": _numbers(returns)}
            dots |= {"marker": {"color": color, "size": 7}, "opacity": 0.4, "showlegend": False, "text": seeds}
            name = html.escape(group.label)
            traces.append(dots | {"name": name, "hovertemplate": _POINT, "meta": "member"})
            means.append((mean_interval(left).mean, mean_interval(returns), color, name))
            shown.append((returns, means[-1][1]))
        order = sorted(means, key=lambda mean: mean[0])
        line = {"type": "scatter", "mode": "lines", "x": [_number(mean[0]) for mean in order]}
        line |= {"y": [_number(mean[1].mean) for mean in order], "line": {"color": "var(--muted)", "width": 1.5}}
        traces.append(line | {"hoverinfo": "skip", "showlegend": False})
        for left, estimate, color, name in means:
            error = _number(estimate.high - estimate.mean)
            point = {"type": "scatter", "mode": "markers", "x": [_number(left)], "y": [_number(estimate.mean)]}
            point |= {"marker": {"color": color, "size": 11}, "name": name, "text": ["mean"]}
            if error is not None:
                point["error_y"] = {"array": [error], "color": color, "thickness": 1.5, "width": 4}
            traces.append(point | {"hovertemplate": _POINT})
    layout = _layout(groups, _LARGE, {"title": {"text": "return"}, "range": _range_of(*shown)})
    axis = {"title": {"text": "parameters left [% of the dense agent's]"}, "range": [0, 104], "tickformat": ",~g"}
    layout["xaxis"] = axis
    return {"data": traces, "layout": layout | {"hovermode": "closest"}}


_POINT = "%{text}: return %{y:,.1f}, %{x:.1f}% left<extra>%{fullData.name}</extra>"


_HOVER = {"unifiedhovertitle": {"text": "step %{x:,}"}}


def layer_name(layer: str) -> str:
    """Returns a layer in words.

    Examples:
      >>> layer_name("ofenet/state_1"), layer_name("critic_2/hidden_1")
      ('OFENet state 1', 'critic 2 hidden 1')
    """
    return html.escape(layer.replace("ofenet", "OFENet").replace("/", " ").replace("_", " "))


def _layout(groups: Sequence[Group], height: int, vertical: dict[str, Any]) -> dict[str, Any]:
    return {
        "height": height,
        "hovermode": "x unified",
        "showlegend": len(groups) > 1,
        "xaxis": {"title": {"text": "environment steps"}, "hoverformat": ",", "tickformat": "~s"} | _HOVER,
        "yaxis": vertical,
    }


def _pruning_time(groups: Sequence[Group]) -> dict[str, Any]:
    """Returns the time of pruning as a rectangle behind the lines, if all runs that prune have the same."""
    times = set()
    for group in groups:
        config = group.run.config
        if config.pruner == "theta":
            times.add((config.pruning.prune_start, min(config.pruning.prune_stop or config.steps, config.steps)))
        elif group.run.prunes and config.kind.scheduled:
            start = config.pruning.prune_start
            times.add((start, min(start + config.pruning.prune_ramp, config.steps)))
    if len(times) != 1:
        return {}
    start, stop = times.pop()
    area = {"type": "rect", "x0": start, "x1": stop, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    words = {"x": start, "yref": "paper", "y": 1, "text": "pruning", "showarrow": False, "xanchor": "left"}
    return {
        "shapes": [area | {"fillcolor": "var(--shade)", "line": {"width": 0}}],
        "annotations": [words | {"yanchor": "bottom", "font": {"color": "var(--muted)", "size": 12}}],
    }


def _range(lines: Sequence[_Line]) -> list[float | None] | None:
    return _range_of(*((line.values, line.interval) for line in lines))


def _range_of(*shown: tuple[np.ndarray, Interval]) -> list[float | None] | None:
    """Returns the range of an axis that shows all values, and intervals as far as they are not far wider."""
    values = _finite([values for values, _ in shown])
    if not len(values):
        return None
    ends = _finite([end for _, interval in shown for end in interval])
    spread = values.max() - values.min()
    low = min(values.min(), max(ends.min(), values.min() - spread / 2))
    high = max(values.max(), min(ends.max(), values.max() + spread / 2))
    margin = 0.05 * (high - low)
    return [_number(low - margin), _number(high + margin)] if margin else None


def _finite(arrays: Sequence[np.ndarray]) -> np.ndarray:
    every = np.concatenate([np.reshape(array, -1) for array in arrays])
    return every[np.isfinite(every)]


def _numbers(values: np.ndarray) -> list[float | int | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: Any) -> float | int | None:
    """Returns a number to six digits, as JSON has it: None for what is not finite."""
    if isinstance(value, int):
        return value
    return float(f"{float(value):.6g}") if math.isfinite(value) else None
