"""The report as one HTML page that needs no network."""

import functools
import html
import json
from collections.abc import Sequence
from importlib import resources

from plotly.offline import get_plotlyjs

from xinet_jax.config.command import train_command
from xinet_jax.report.architecture import architecture
from xinet_jax.report.charts import Figure, line_chart, speed_chart, trade_off_chart, units_chart
from xinet_jax.report.groups import Group, groups_of
from xinet_jax.report.record import RunRecord
from xinet_jax.report.series import FEWEST
from xinet_jax.report.tables import (
    all_settings_table,
    comparison,
    headlines,
    members_table,
    settings_table,
    starts_table,
)
from xinet_jax.telemetry.progress import duration

# Charts of learning: the number, what is seen, and its unit.
_LEARNING = (
    ("episode_return", "Return of episodes in training, with exploration", "return"),
    ("critic_loss", "Loss of the critics", "squared Bellman error"),
    ("actor_loss", "Loss of the actor", "α log π − Q [reward]"),
    ("auxiliary_loss", "Loss of OFENet: predicting the next observation", "squared error"),
    ("temperature", "Temperature α", "reward per nat"),
    ("entropy", "Entropy of the policy", "nats"),
    ("price", "Price of all parameters, as charged", "nats"),
    ("action_value", "Action value of the policy's actions", "discounted return"),
)


def page(runs: Sequence[RunRecord]) -> str:
    """Returns the page about one run, or about several side by side.

    Args:
      runs: what is known of each (`xinet_jax.report.record.read_run`).
    """
    groups = groups_of(runs)
    figures: dict[str, Figure] = {}
    sections = [
        headlines(groups[0]) if len(groups) == 1 else comparison(groups),
        _learning_curve(groups, figures),
        _size(groups, figures),
        _networks(groups, figures),
        _speed(groups, figures),
        _learning(groups, figures),
        _section("members", "Every agent", members_table(runs)),
        *(_origin(run, number, len(runs) > 1) for number, run in enumerate(runs)),
    ]
    title, body = html.escape(_title(runs)), "\n".join(filter(None, sections))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>\n<style>\n{_file('page.css')}</style>\n</head>\n<body>\n<main>",
            f"{_header(runs, body)}\n{body}",
            "</main>\n<noscript><p>The charts need JavaScript.</p></noscript>",
            f'<script type="application/json" id="figures">{script_json(figures)}</script>',
            f"<script>{_plotly()}</script>\n<script>\n{_file('page.js')}</script>\n</body>\n</html>\n",
        ]
    )


def script_json(value: object) -> str:
    """Returns JSON that can stand in an HTML script: without `<`, which may end the script.

    Examples:
      >>> script_json({"name": "</script>"})
      '{"name":"\\\\u003c/script>"}'
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@functools.cache
def _plotly() -> str:
    return get_plotlyjs()


@functools.cache
def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _title(runs: Sequence[RunRecord]) -> str:
    tasks = list(dict.fromkeys(run.config.task for run in runs))
    agents = list(dict.fromkeys(run.config.agent for run in runs))
    return f"{', '.join(agents)} on {', '.join(tasks)}"


def _header(runs: Sequence[RunRecord], body: str) -> str:
    """Returns what the page is about, and links to the sections that its body has."""
    lines = [f"<p>{_about(run, len(runs) > 1)}</p>" for run in runs]
    if len({run.config.task for run in runs}) > 1:
        lines.append("<p>The runs are on different tasks, so their returns cannot be compared.</p>")
    links = "".join(
        f'<a href="#{name}">{words}</a>'
        for name, words in (
            ("return", "Return"),
            ("size", "Size"),
            ("networks", "Networks"),
            ("speed", "Speed"),
            ("learning", "Learning"),
            ("members", "Agents"),
            ("origin-0", "Settings"),
        )
        if f'<section id="{name}">' in body
    )
    return f"<header><h1>{html.escape(_title(runs))}</h1>{''.join(lines)}<nav>{links}</nav></header>"


def _about(run: RunRecord, several: bool) -> str:
    """Returns which agents a run trains, how far it is, and when it was, in a line."""
    config, combinations = run.config, len({tuple(member.settings.values()) for member in run.members})
    agents = f"{len(run.members)} agent{'s' * (len(run.members) > 1)}"
    if combinations > 1:
        names = " and ".join("ν" if name == "nu" else name for name in run.members[0].settings)
        agents += f": {config.seeds} seed{'s' * (config.seeds > 1)} for each of {combinations} values of {names}"
    state = "" if run.state == "finished" else f" of {config.steps:,}"
    parts = [agents, f"{run.steps:,}{state} environment steps each", f"<strong>{run.state}</strong>"]
    parts.append(f"{duration(run.seconds)} of training")
    if run.starts and isinstance(run.starts[0].get("time"), str):
        parts.append(f"started {html.escape(run.starts[0]['time'][:16].replace('T', ', '))}")
    agent = f"{html.escape(config.agent)}, " * several
    return f"<code>{html.escape(run.name)}</code>: {agent}{' · '.join(parts)}"


def _learning_curve(groups: Sequence[Group], figures: dict[str, Figure]) -> str:
    chart = _chart(figures, "return", line_chart(groups, "return", "return", ",.1f", large=True))
    if not chart:
        return _section("return", "Return", "<p>No evaluation yet.</p>")
    most = max(len(group.members) for group in groups)
    note = "Mean return of whole episodes of the deterministic policy at each evaluation."
    if most >= FEWEST:
        note += " The band is the 95% confidence interval of the mean over seeds, by Student's t distribution."
    if most > 1:
        note += ' <label><input type="checkbox" id="members-shown" checked> show every seed</label>'
    return _section("return", "Return while learning", f'<p class="note">{note}</p>{chart}')


def _size(groups: Sequence[Group], figures: dict[str, Figure]) -> str:
    pruned = [group for group in groups if group.run.prunes]
    if not pruned:
        return ""
    chosen = groups if len(pruned) < len(groups) else pruned
    left = [
        _titled(f"{words} left", _chart(figures, name, line_chart(chosen, name, "% of the dense agent's", ".1f", True)))
        for name, words in (("parameters_left", "Parameters"), ("flops_left", "FLOPs"))
    ]
    trade_off = _chart(figures, "trade_off", trade_off_chart(groups))
    intervals = " with 95% intervals of the return" * any(len(group.members) >= FEWEST for group in groups)
    words = f"Large points are means over seeds{intervals}; small ones are single seeds."
    trade_off = trade_off and f'<h3>Return against size</h3><p class="note">{words}</p>{trade_off}'
    return _section("size", "Size", f'<div class="grid">{"".join(left)}</div>{trade_off}')


def _networks(groups: Sequence[Group], figures: dict[str, Figure]) -> str:
    """Returns the layers, and the units of those that are pruned over time, with a choice among several groups."""
    panels = []
    for number, group in enumerate(groups):
        chart = _chart(figures, f"units-{number}", units_chart(group))
        chart = chart and _titled("Units left in each layer while learning", chart)
        drawn = f"<h3>{'Before pruning and now' if group.run.prunes else 'Layers'}</h3>{architecture(group)}"
        panels.append(f'<div class="choice"{" hidden" * (number > 0)}>{drawn}{chart}</div>')
    options = "".join(f'<option value="{k}">{html.escape(group.label)}</option>' for k, group in enumerate(groups))
    choice = f'<label>Show <select id="choice">{options}</select></label> ' if len(groups) > 1 else ""
    words = "A bar is as wide as its layer has units"
    words += ": outlined before pruning, filled what is left. " if any(group.run.prunes for group in groups) else ". "
    words += "Numbers are means over seeds." if any(len(group.members) > 1 for group in groups) else ""
    return _section("networks", "Networks", f'<p class="note">{choice}{words}</p>{"".join(panels)}')


def _speed(groups: Sequence[Group], figures: dict[str, Figure]) -> str:
    chart = _chart(figures, "speed", speed_chart(groups))
    if not chart:
        return ""
    words = "All agents of a run take an update together, so this is also the number of updates of each."
    if any(group.run.compactions for group in groups):
        words += " A compaction takes pruned units out of the arrays and compiles the program anew."
    return _section("speed", "Speed", f'<p class="note">{words}</p>{chart}')


def _learning(groups: Sequence[Group], figures: dict[str, Figure]) -> str:
    drawn = [
        _titled(title, _chart(figures, name, line_chart(groups, name, unit)))
        for name, title, unit in _LEARNING
        if name != "auxiliary_loss" or any(group.run.config.kind.extractor for group in groups)
    ]
    return _section("learning", "Learning", f'<div class="grid">{"".join(drawn)}</div>') if any(drawn) else ""


def _origin(run: RunRecord, number: int, several: bool) -> str:
    """Returns the settings and versions of a run, and how to train it again."""
    command = f"<pre><code>{html.escape(train_command(run.config))}</code></pre>"
    of_run = f": {html.escape(run.name)}" if several else ""
    return _section(
        f"origin-{number}",
        f"Settings and versions{of_run}",
        f"<h3>Train it again</h3>{command}"
        f"<h3>Settings that are not the preset's</h3>{settings_table(run)}"
        f"<details><summary>All settings</summary>{all_settings_table(run)}</details>"
        f"<h3>Versions</h3>{starts_table(run)}",
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>{content}</section>'


def _titled(title: str, chart: str) -> str:
    return chart and f"<figure><h3>{title}</h3>{chart}</figure>"


def _chart(figures: dict[str, Figure], name: str, figure: Figure | None) -> str:
    """Adds a figure, and returns the element that it is drawn in; nothing if there is none."""
    if figure is None:
        return ""
    figures[name] = figure
    height = figure["layout"]["height"]
    return f'<div class="chart" id="chart-{name}" data-figure="{name}" style="min-height: {height}px"></div>'
