"""Tables for people: how a run ended, and what is left of a network."""

from collections.abc import Iterable, Sequence

import numpy as np
from rich.table import Table

from xinet_jax.config import value_text
from xinet_jax.networks.complexity import LayerCount, left
from xinet_jax.policy.structure import Structure
from xinet_jax.tasks.registry import in_gymnasium
from xinet_jax.telemetry.progress import whole


def returns_table(rows: Iterable[tuple[Structure, float, np.ndarray | None, str]]) -> Table:
    """Returns one line per member: return, parameters and FLOPs.

    Args:
      rows: per member its structure, the newest return seen in training, the returns of the saved policy, if taken, and
        what went wrong with it, if anything.
    """
    rows = list(rows)
    varied = _varied([structure for structure, *_ in rows])
    table = Table(title="Per " + " and ".join([*varied, "seed"]), title_justify="left")
    saved = "in Gymnasium" if all(in_gymnasium(structure.task) for structure, *_ in rows) else "saved policy"
    headings = ("seed", "return", saved, "parameters left", "OFENet", "FLOPs", "policy alone")
    troubled = any(trouble for *_, trouble in rows)
    for heading in (*varied, *headings):
        table.add_column(heading, justify="right")
    if troubled:
        table.add_column("trouble")
    for structure, in_training, returns, trouble in rows:
        layers = structure.layers
        ofenet = [layer for layer in layers if layer.network == "ofenet"]
        table.add_row(
            *(_value(structure, name) for name in varied),
            str(structure.seed),
            "not taken" if np.isnan(in_training) else whole(in_training),
            "not taken" if returns is None else f"{whole(np.mean(returns))} ± {whole(np.std(returns))}",
            _left(layers),
            f"{left(ofenet):.0%}" if ofenet else "none",
            f"{left(layers, 'flops'):.0%}",
            _left([layer for layer in layers if layer.in_policy]),
            *([trouble] if troubled else []),
        )
    return table


def evaluations_table(rows: Iterable[tuple[Structure, Sequence[float] | np.ndarray]]) -> Table:
    """Returns one line per policy: its returns."""
    rows = list(rows)
    varied = _varied([structure for structure, _ in rows])
    table = Table()
    for heading in ("task", *varied, "seed", "parameters", "return", "lowest", "highest"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for structure, returns in rows:
        table.add_row(
            structure.task,
            *(_value(structure, name) for name in varied),
            str(structure.seed),
            f"{structure.parameters:,}",
            f"{np.mean(returns):.1f} ± {np.std(returns):.1f}",
            f"{min(returns):.1f}",
            f"{max(returns):.1f}",
        )
    return table


def layers_table(structures: Sequence[Structure]) -> Table:
    """Returns one line per layer and network: units, parameters and FLOPs before and after, as means over seeds."""
    several = len(structures) > 1
    table = Table(title="Per layer" + (f", mean of {len(structures)} seeds" if several else ""), title_justify="left")
    table.add_column("network")
    table.add_column("layer")
    for heading in ("units", "parameters", "FLOPs per input"):
        table.add_column(heading, justify="right")
    by_layer = list(zip(*(structure.layers for structure in structures), strict=True))
    networks = list(dict.fromkeys(layers[0].network for layers in by_layer))
    for network in networks:
        of_network = [layers for layers in by_layer if layers[0].network == network]
        for layers in of_network:
            shares = [_mean_change(layers, field) for field in ("units", "parameters", "flops")]
            table.add_row(network, layers[0].name, *shares)
        rows = [layer for layers in of_network for layer in layers]
        table.add_row(
            f"[bold]{network}", "[bold]all", "", *(_change(rows, f, len(structures)) for f in ("parameters", "flops"))
        )
        table.add_section()
    rows = [layer for layers in by_layer for layer in layers]
    table.add_row("[bold]all", "", "", *(_change(rows, f, len(structures)) for f in ("parameters", "flops")))
    return table


def _varied(structures: Sequence[Structure]) -> list[str]:
    """Returns the hyper-parameters in which agents differ."""
    prices = ["nu"] if len({structure.nu for structure in structures}) > 1 else []
    return prices + list(dict.fromkeys(name for structure in structures for name in structure.settings))


def _value(structure: Structure, name: str) -> str:
    value = structure.nu if name == "nu" else structure.settings.get(name)
    return "none" if value is None else value_text(value)


def _left(layers: Sequence[LayerCount]) -> str:
    return f"{sum(layer.parameters for layer in layers):,} ({left(layers):.0%})"


def _change(layers: Sequence[LayerCount], field: str, seeds: int) -> str:
    before = sum(getattr(layer, f"{field}_before") for layer in layers) / seeds
    after = sum(getattr(layer, field) for layer in layers) / seeds
    return f"{before:,.0f} → {after:,.0f} ({left(layers, field):.0%})"


def _mean_change(layers: Sequence[LayerCount], field: str) -> str:
    before = getattr(layers[0], f"{field}_before")
    after = float(np.mean([getattr(layer, field) for layer in layers]))
    return f"{before:,} → {after:,.0f}" if field != "units" or len(layers) == 1 else f"{before:,} → {after:.1f}"
