"""Folds gates into weights: what a gate multiplies, its unit's outgoing weights can be multiplied by instead."""

from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape
from xinet_jax.types import Tree, Units


def fold(shape: Shape, params: dict[str, Tree], units: Units) -> dict[str, Tree]:
    """Returns networks without gates that compute the same: each unit's gate moves into its outgoing weights.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", ...}`; others than these stay as they are.
      units: its gates; networks that are absent stay as they are.
    """
    arrays = layout.flat(params)
    for layer in layout.stored(shape):
        if layer.inputs:
            arrays[layer.kernel] = arrays[layer.kernel] * layout.side_by_side(layer, layer.inputs, units)[..., None]
    return layout.nested(arrays, params)
