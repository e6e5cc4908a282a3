"""Folds gates into weights: what a gate multiplies, its unit's outgoing weights can be multiplied by instead."""

from typing import Any

import jax

from xinet_jax import wiring
from xinet_jax.gates import Units
from xinet_jax.networks import Shape
from xinet_jax.wiring import Ends

Tree = Any


def fold(shape: Shape, params: dict[str, Tree], units: Units) -> dict[str, Tree]:
    """Returns networks without gates that compute the same: each unit's gate moves into its outgoing weights.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      units: its gates; networks that are absent stay as they are.
    """

    def layer(ends: Ends, arrays: Tree) -> Tree:
        return arrays if ends.inputs is None else arrays | {"kernel": arrays["kernel"] * ends.inputs[..., None]}

    every = wiring.ends(shape, units)
    return {name: jax.tree.map(layer, own, params[name], is_leaf=wiring.is_ends) for name, own in every.items()}
