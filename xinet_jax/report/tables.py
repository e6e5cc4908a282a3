"""Tables and headline numbers as HTML. Every text is escaped."""

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xinet_jax.config import to_flat
from xinet_jax.config.command import differences
from xinet_jax.report.groups import Group, setting_text
from xinet_jax.report.record import MemberRecord, RunRecord
from xinet_jax.report.series import mean_interval

_NOTHING = "–"


class _Headline(NamedTuple):
    """A headline number of a group: its name, the number, a detail of this group, and what it means of any group."""

    name: str
    value: str
    detail: str = ""
    meaning: str = ""


def headlines(group: Group) -> str:
    """Returns the headline numbers of one group as tiles."""
    tiles = []
    for line in _headlines(group):
        words = "; ".join(filter(None, (line.meaning, line.detail)))
        content = f'<strong>{line.value}</strong><span class="note">{words}</span>'
        tiles.append(f'<div class="tile"><span>{line.name}</span>{content}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def comparison(groups: Sequence[Group]) -> str:
    """Returns the headline numbers of several groups as a table, one row each."""
    lines = [{line.name: line for line in _headlines(group)} for group in groups]
    names = list(dict.fromkeys(name for of_group in lines for name in of_group))
    rows = []
    for group, of_group in zip(groups, lines, strict=True):
        shown = [of_group.get(name, _Headline(name, _NOTHING)) for name in names]
        cells = [f'<strong>{line.value}</strong><br><span class="note">{line.detail}</span>' for line in shown]
        label = f'<span class="key key-{group.color}"></span>{html.escape(group.label)}'
        rows.append([f'<span class="label">{label}</span>', *cells])
    return _table(["", *names], rows)


def _headlines(group: Group) -> list[_Headline]:
    """Returns a group's headline numbers, as far as there is anything to say."""
    members, lines = group.members, []
    returns = np.array([member.final_return for member in members])
    if np.isfinite(returns).any():
        mean, low, high = mean_interval(returns)
        saved = all(member.returns is not None for member in members)
        words = [f"95% interval {number(low)} to {number(high)}"] if np.isfinite(low) else []
        words += [_plural(len(members), "seed")] + (
            [_plural(len(members[0].returns), "episode") + " each"] if saved else []
        )
        name = "Return of the saved policy" if saved else "Newest return"
        lines.append(_Headline(name, number(mean), ", ".join(words)))
    if group.run.prunes:
        left = _mean(member.parameters_left for member in members)
        flops = [curve.values[-1] for curve in (member.flops_left for member in members) if len(curve.values)]
        lines.append(_Headline("Parameters left", _percent(left), meaning="of all networks, against the dense agent"))
        lines.append(_Headline("FLOPs left", _percent(_mean(flops)), meaning="of one inference of every network"))
    policies = [member.policy_parameters for member in members if member.policy_parameters]
    if policies:
        before, after = np.mean(policies, axis=0)
        detail = f"{before:,.0f} before pruning" if group.run.prunes else ""
        lines.append(_Headline("Size of the policy", f"{after:,.0f}", detail, "parameters needed to act"))
    rates = group.curves("updates_per_second").values
    rates = rates[np.isfinite(rates).any(axis=1)] if rates.size else rates
    if rates.size:
        first, last = (_mean(row[np.isfinite(row)][place] for row in rates) for place in (0, -1))
        count = len(group.run.compactions)
        detail = f"{first:,.0f} at the start" + (f", {_plural(count, 'compaction')}" if count else "")
        lines.append(
            _Headline(
                "Updates per second now" if group.run.state == "running" else "Updates per second at the end",
                f"{last:,.0f}",
                detail,
            )
        )
    return lines


def members_table(runs: Sequence[RunRecord]) -> str:
    """Returns one row for each member."""
    several = len(runs) > 1
    prunes, settings = any(run.prunes for run in runs), any(m.settings for run in runs for m in run.members)
    headings = ["run"] * several + ["settings"] * settings + ["seed", "return", "± sd", "episodes"]
    headings += ["parameters left"] * prunes + ["policy's parameters", "trouble"]
    rows = []
    for run in runs:
        for member in run.members:
            row = [html.escape(run.name)] * several + [html.escape(setting_text(member.settings))] * settings
            rows.append([*row, str(member.seed), *_return_cells(member), *_size_cells(run, member, prunes)])
    return _table(headings, rows, fixed=several + settings)


def _return_cells(member: MemberRecord) -> list[str]:
    if member.returns is None:
        return [number(member.final_return), _NOTHING, _NOTHING]
    return [number(member.final_return), number(float(np.std(member.returns))), str(len(member.returns))]


def _size_cells(run: RunRecord, member: MemberRecord, prunes: bool) -> list[str]:
    left = [_percent(member.parameters_left) if run.prunes else _NOTHING] if prunes else []
    policy = member.policy_parameters
    return [*left, f"{policy[1]:,}" if policy else _NOTHING, html.escape(member.trouble or "none")]


def settings_table(run: RunRecord) -> str:
    """Returns the fields of the configuration that are not the preset's, beside the preset's."""
    rows = [
        [f"<code>{html.escape(name)}</code>", *map(_setting, pair)] for name, pair in differences(run.config).items()
    ]
    if not rows:
        return f"<p>All settings are those of the preset <code>{html.escape(run.config.preset)}</code>.</p>"
    return _table(["setting", "this run", f"preset {html.escape(run.config.preset)}"], rows, fixed=3)


def all_settings_table(run: RunRecord) -> str:
    """Returns every field of the configuration."""
    rows = [[f"<code>{html.escape(name)}</code>", _setting(value)] for name, value in to_flat(run.config).items()]
    return _table(["setting", "value"], rows, fixed=2)


def starts_table(run: RunRecord) -> str:
    """Returns what each start of a run ran with."""
    if not run.starts:
        return "<p>This run did not record its versions.</p>"
    names = list(dict.fromkeys(name for start in run.starts for name in _flat(start)))
    rows = [[html.escape(name), *(_text(_flat(start).get(name)) for start in run.starts)] for name in names]
    headings = ["", *("start" if number == 0 else f"start {number + 1}" for number in range(len(run.starts)))]
    return _table(headings, rows, fixed=len(headings))


def _flat(start: dict[str, Any]) -> dict[str, Any]:
    packages = start.get("packages")
    rest = {str(name).replace("_", " "): value for name, value in start.items() if name != "packages"}
    return rest | (packages if isinstance(packages, dict) else {})


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], fixed: int = 1) -> str:
    """Returns a table of cells that are HTML already. The first `fixed` columns are texts, the others numbers."""
    kinds = ["" if place < fixed else ' class="number"' for place in range(len(headings))]
    head = "".join(f"<th{kind}>{heading}</th>" for kind, heading in zip(kinds, headings, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _setting(value: Any) -> str:
    return html.escape(" ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _text(value: Any) -> str:
    if value is None:
        return _NOTHING
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def number(value: float | np.ndarray) -> str:
    """Returns a return in four digits or more: 4123, 12.35, -0.5; a dash for what is not finite.

    Examples:
      >>> number(4123.4), number(-12.347), number(float("nan"))
      ('4,123', '-12.35', '–')
    """
    value = float(value)
    if not math.isfinite(value):
        return _NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else _NOTHING


def _mean(values: Iterable[float]) -> float:
    values = [float(value) for value in values]
    return sum(values) / len(values) if values else math.nan


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
