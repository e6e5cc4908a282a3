"""Takes pruned units out of every array that holds them (method, section 5).

A *plan* says for each array which indices of each axis stay. It is made once from the units that stay, and applies
alike to parameters, target parameters and optimiser moments.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from xinet_jax.networks import layout
from xinet_jax.networks.layout import Layer, Path
from xinet_jax.networks.modules import Shape
from xinet_jax.types import Tree, Units


class Keep(NamedTuple):
    """The indices that stay, per axis of one array without its twin axis; one set for each twin.

    Attributes:
      twins: per twin, the indices of each axis; an array of no twins has one set.
      stacked: whether the array has a leading axis of twins.
    """

    twins: tuple[tuple[np.ndarray, ...], ...]
    stacked: bool


class Plan(NamedTuple):
    """What stays of one agent's arrays, by their paths.

    Attributes:
      params: of the parameters, `{"ofenet", "actor", "critic"}`.
      statistics: of OFENet's running averages.
    """

    params: dict[Path, Keep]
    statistics: dict[Path, Keep]


def kept_units(alive: Units, widths: Shape) -> Units:
    """Returns masks of the units of one agent that stay: those not pruned, and pruned ones to fill up some widths."""

    def fill(layer: Array | np.ndarray, full: Array) -> np.ndarray:
        order = np.argsort(np.asarray(layer) < 0.5, axis=-1, kind="stable")
        kept = np.zeros(layer.shape, np.float32)
        np.put_along_axis(kept, order[..., : full.shape[-1]], 1.0, axis=-1)
        return kept

    return jax.tree.map(fill, alive, layout.ones(widths, tuple(alive)))


def rounded_widths(shape: Shape, alive: Units, multiple: int) -> Shape:
    """Returns the sizes that hold every member's units, with layers rounded up to a multiple, but never made wider.

    Args:
      shape: the sizes now.
      alive: masks with a leading member axis.
      multiple: what layers are rounded up to a multiple of; a layer without units in any member is left out.

    Examples:
      >>> shape = Shape(3, 1, 3, (), (), actor_hidden=(16,), critic_hidden=(16,))
      >>> two_members = {"actor": (np.repeat([[1.0] * 3 + [0.0] * 13], 2, axis=0),)}
      >>> rounded_widths(shape, two_members, multiple=8).actor_hidden
      (8,)
    """

    def width(layer: Array | np.ndarray) -> int:
        widest = int(layer.sum(axis=-1).max())
        return min(layer.shape[-1], -(-widest // multiple) * multiple)

    return layout.with_widths(shape, {name: jax.tree.map(width, units) for name, units in alive.items()})


def plan(shape: Shape, kept: Units) -> Plan:
    """Returns what stays of one agent's arrays.

    Args:
      shape: the sizes before.
      kept: masks of the units that stay, as many in one twin as in the other; networks that are absent stay whole.
    """
    params, statistics = {}, {}
    for layer in layout.stored(shape):
        columns = _indices(layer, layout.side_by_side(layer, layer.outputs, kept))
        vector = Keep(tuple((units,) for units in columns), len(columns) > 1)
        params |= {(*layer.path, name): vector for name in layer.vectors}
        statistics |= {(*layer.path[1:], name): vector for name in layer.averages}
        if layer.inputs:
            rows = _indices(layer, layout.side_by_side(layer, layer.inputs, kept))
            params[layer.kernel] = Keep(tuple(zip(rows, columns, strict=True)), len(columns) > 1)
    return Plan(params, statistics)


def take(plan: dict[Path, Keep], arrays: dict[str, Tree]) -> dict[str, Tree]:
    """Returns the arrays with only the planned indices left. Arrays with nothing left are dropped, as the modules do.

    Args:
      plan: what stays, by path.
      arrays: nested dictionaries of arrays: parameters, or optimiser moments of their shape. What is not in the plan
        stays as it is.
    """

    def smaller(path: Path, array: Any) -> Any:
        if path not in plan:
            return array
        keep, array = plan[path], np.asarray(array)
        if not keep.stacked:
            return array[np.ix_(*keep.twins[0])]
        return np.stack([twin[np.ix_(*axes)] for twin, axes in zip(array, keep.twins, strict=True)])

    taken = {path: smaller(path, array) for path, array in layout.flat(arrays).items()}
    return layout.nested({path: array for path, array in taken.items() if array.size})


def place(keep: Keep, arrays: tuple[Array | np.ndarray | None, ...], like: Array | np.ndarray) -> np.ndarray:
    """Returns a larger array with some arrays at the planned indices and zeros elsewhere: what `take` would undo.

    Args:
      keep: where they go.
      arrays: one array, or one for each twin; None for one without elements.
      like: an array of the larger one's shape and type.
    """
    placed = np.zeros(like.shape, like.dtype)
    for larger, array, axes in zip(placed if keep.stacked else [placed], arrays, keep.twins, strict=True):
        if array is not None:
            larger[np.ix_(*axes)] = array
    return placed


def _indices(layer: Layer, mask: np.ndarray | Array) -> list[np.ndarray]:
    """Returns the indices that a mask keeps: one array for each twin, or one."""
    return [np.flatnonzero(twin) for twin in (mask if layer.network in layout.TWINS else [mask])]
