"""Which units stand at the two ends of every kernel: the one description that pruning, folding and compaction share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Shape

Tree = Any


class Ends(NamedTuple):
    """A value for each unit that a layer's arrays belong to.

    Attributes:
      inputs: one per row of the kernel; None for a normalisation, which has no kernel.
      units: one per column of the kernel, and per entry of the vectors.
      vectors: names of the layer's parameters beside the kernel.
    """

    inputs: Float[Array, "*twins inputs"] | None
    units: Float[Array, "*twins units"]
    vectors: tuple[str, ...] = ("bias",)


def ends(shape: Shape, units: Units, other: float = 1.0) -> dict[str, Tree]:
    """Returns the ends of every layer that there is: a tree like the parameters, with `Ends` in the layers' places.

    Args:
      shape: the sizes.
      units: a value per unit (masks, gates).
      other: the value of inputs of the networks and of units that are absent; outputs count one.
    """
    units = jax.tree.map(jnp.asarray, gates.complete(shape, units, other))
    state, action = units["ofenet"]["state"], units["ofenet"]["action"]
    z_o, z_o_action, z_oa = gates.of_features(shape, units, other)
    ofenet = {"state": _densenet(jnp.full(shape.observation, other), state), "action": _densenet(z_o_action, action)}
    if shape.state_blocks or shape.action_blocks:
        ofenet["predictor"] = Ends(z_oa, jnp.ones(shape.predicted))
    return {
        "ofenet": {name: layers for name, layers in ofenet.items() if layers},
        "actor": _mlp(z_o, units["actor"], jnp.ones(2 * shape.action)),
        "critic": {"twins": _mlp(jnp.stack([z_oa, z_oa]), units["critic"], jnp.ones((2, 1)))},
    }


def is_ends(x: Any) -> bool:
    """Returns whether a node is a leaf of the tree of `ends`."""
    return isinstance(x, Ends)


def _densenet(inputs: Array, own: tuple[Array, ...]) -> dict[str, Ends]:
    if not sum(unit.size for unit in own):
        return {}
    layers = {"input": Ends(inputs, jnp.concatenate(own), ())}
    for k, unit in enumerate(own):
        if unit.size:
            layers[f"norm_{k + 1}"] = Ends(None, unit, ("scale", "bias"))
        later = jnp.concatenate([*own[k + 1 :], jnp.zeros(0)])
        if unit.size and later.size:
            layers[f"block_{k + 1}"] = Ends(unit, later, ())
    return layers


def _mlp(inputs: Array, own: tuple[Array, ...], outputs: Array) -> dict[str, Ends]:
    names = [f"hidden_{k + 1}" for k in range(len(own))] + ["head"]
    return {
        name: Ends(*pair) for name, pair in zip(names, zip((inputs, *own), (*own, outputs), strict=True), strict=True)
    }
