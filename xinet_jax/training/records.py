"""The lines of metrics, as JSON objects (docs: metrics.jsonl)."""

from typing import Any

import numpy as np

from xinet_jax.networks.complexity import LayerCount, left
from xinet_jax.training.members import Identity
from xinet_jax.training.tally import Tally


def identity_entries(identity: Identity) -> dict[str, Any]:
    """Returns what says which member a line is about."""
    entries: dict[str, Any] = {"member": identity.folder, "seed": identity.seed}
    return entries | ({} if identity.nu is None else {"nu": identity.nu}) | identity.settings


def segment_entries(
    phase: str, tally: Tally, layers: tuple[LayerCount, ...], diverged: bool, rate: float | None
) -> dict[str, Any]:
    """Returns what a line says of one member's segment.

    Args:
      phase: one of `PHASES`.
      tally: the member's sums over the segment.
      layers: its layers at the end of the segment.
      diverged: whether it has diverged.
      rate: iterations per second.
    """
    updates, episodes = int(tally.updates), int(tally.episodes)
    entries: dict[str, Any] = {"iterations_per_second": rate}
    if updates:
        sums = tally.metrics._asdict() | {"theta_held": tally.theta.held}
        means = {name: float(total) / updates for name, total in sums.items()}
        # OFENet alone has no critics or actor to speak of.
        entries |= means if phase == "train" else {"auxiliary_loss": means["auxiliary_loss"]}
    if tally.theta_steps:
        entries["price"] = float(tally.theta.price) / int(tally.theta_steps)
    return entries | {
        "episodes": episodes,
        "episode_return": float(tally.episode_return) / episodes if episodes else None,
        "episode_length": float(tally.episode_length) / episodes if episodes else None,
        "parameters": sum(layer.parameters for layer in layers),
        "parameters_left": left(layers),
        "ofenet_left": left(layer for layer in layers if layer.network == "ofenet"),
        "flops": sum(layer.flops for layer in layers),
        "units": {f"{layer.network}/{layer.name}": layer.units for layer in layers},
        "bad_transitions": int(tally.bad_transitions),
        "diverged": diverged,
    }


def return_entries(returns: np.ndarray) -> dict[str, Any]:
    """Returns what a line says of the returns of one member's episodes, `[episodes]`."""
    return {"return": float(returns.mean()), "returns": [float(value) for value in returns]}
