"""The networks before and after pruning, drawn to scale: a bar per layer, as inline SVG."""

import html

import numpy as np

from xinet_jax.report.groups import Group, short_mean

# Panels: a title, what it reads and gives, and the network and first letters of the names of its layers.
_PANELS = (
    ("OFENet, state branch", "observation → features of the state", "ofenet", "state_"),
    ("OFENet, action branch", "these and the action → features of both", "ofenet", "action_"),
    ("OFENet, prediction", "features → the next observation; training only", "ofenet", "predictor"),
    ("Actor", "features of the state → action", "actor", ""),
    ("Critic 1", "all features → value of the action", "critic_1", ""),
    ("Critic 2", "all features → value of the action", "critic_2", ""),
)
_WORDS = {"head": "output", "predictor": "output"}


def architecture(group: Group) -> str:
    """Returns a group's layers as HTML: outlines as wide as the dense layer, filled as far as units are left.

    All bars have the same scale. Units left are means over the group's members.
    """
    widths = [member.widths() for member in group.members]
    means = {name: np.mean([width[name] for width in widths], axis=0) for name in widths[0]}
    widest = max((before for before, _ in means.values()), default=1) or 1
    panels = []
    extractor = any(name.startswith("ofenet/") for name in means)
    for title, words, network, prefix in _PANELS:
        rows = [
            _row(name.partition("/")[2], before, now, widest, group.run.prunes)
            for name, (before, now) in means.items()
            if name.partition("/")[0] == network and name.partition("/")[2].startswith(prefix)
        ]
        if rows:
            words = (
                words if extractor else {"actor": "observation → action"}.get(network, "observation, action → value")
            )
            panels.append(f'<div class="panel"><h4>{title}</h4><p class="note">{words}</p>{"".join(rows)}</div>')
    return f'<div class="panels">{"".join(panels)}</div>'


def _row(name: str, before: float, now: float, widest: float, prunes: bool) -> str:
    label = html.escape(_WORDS.get(name, name.replace("_", " ").removeprefix("hidden ").removeprefix("state ")))
    label = label.removeprefix("action ")
    label = f"layer {label}" if label.isdigit() else label
    count = f"{short_mean(now)} of {short_mean(before)}" if prunes else short_mean(before)
    outline, fill = 100 * before / widest, 100 * now / widest
    return (
        f'<div class="layer"><span>{label}</span>'
        f'<svg role="img" aria-label="{label}: {count} units"><title>{count} units</title>'
        f'<rect class="fill" width="{fill:.2f}%" height="100%"/>'
        f'<rect class="outline" x="0.5" y="0.5" width="calc({outline:.2f}% - 1px)" height="13"/></svg>'
        f"<span>{count}</span></div>"
    )
