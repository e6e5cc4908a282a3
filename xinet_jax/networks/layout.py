"""The layout of the networks: which layers there are, and which units stand at the two ends of each.

This is the only place that knows it. Counting, pruning, folding and compaction are loops over `layout(shape)`. A new
layer type or network is added here and in `xinet_jax.networks.modules`.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from xinet_jax.networks.modules import Shape
from xinet_jax.types import Tree, Units

NETWORKS = ("ofenet", "actor", "critic")
TWINS = ("critic",)  # networks whose arrays have a leading axis of two
Path = tuple[str, ...]


class Group(NamedTuple):
    """Units that stand side by side in every array: a hidden layer, or an input or output of the networks.

    Attributes:
      network: the network that computes it; "input" for observations and actions.
      name: its name in tables, unique within the network.
      size: number of units.
      place: of a hidden layer, where its values stand in `Units`; () for inputs and outputs, which carry no gates.
    """

    network: str
    name: str
    size: int
    place: tuple[str | int, ...] = ()


class Layer(NamedTuple):
    """The arrays of one module: a kernel with what is added to its products, or a normalisation.

    Attributes:
      path: of the module within the parameters.
      inputs: groups in the order of the kernel's rows; () for a normalisation, which has no kernel.
      outputs: groups in the order of the kernel's columns, and of the entries of the vectors.
      vectors: names of the parameters beside the kernel.
      averages: names of the running averages, which stand at `path[1:]` within OFENet's statistics.
    """

    path: Path
    inputs: tuple[Group, ...]
    outputs: tuple[Group, ...]
    vectors: tuple[str, ...] = ("bias",)
    averages: tuple[str, ...] = ()

    @property
    def network(self) -> str:
        """The network that it belongs to."""
        return self.path[0]

    @property
    def kernel(self) -> Path:
        """The path of its kernel."""
        return (*self.path, "kernel")

    @property
    def reads_features(self) -> bool:
        """Whether it reads all of z_o or z_oa, from outside of OFENet's branches."""
        return len(self.vectors) == 1 and any(group.network == "input" for group in self.inputs)


def layout(shape: Shape) -> tuple[Layer, ...]:
    """Returns every layer, those without units included, in the order of the computation.

    Examples:
      >>> shape = Shape(3, 1, 3, (4, 4), (4, 4), actor_hidden=(8,), critic_hidden=(8,))
      >>> [layer.path[-1] for layer in layout(shape) if layer.network == "actor"]
      ['hidden_1', 'head']
    """
    z_o, z_oa = features(shape)
    observation, action = z_o[:1], z_oa[len(z_o) : len(z_o) + 1]
    layers = [*_densenet("state", observation, z_o[1:]), *_densenet("action", (*z_o, *action), z_oa[len(z_o) + 1 :])]
    if shape.state_blocks or shape.action_blocks:
        layers.append(Layer(("ofenet", "predictor"), z_oa, (Group("ofenet", "predictor", shape.predicted),)))
    layers += _mlp(("actor",), z_o, shape.actor_hidden, 2 * shape.action)
    layers += _mlp(("critic", "twins"), z_oa, shape.critic_hidden, 1)
    return tuple(layers)


def stored(shape: Shape) -> tuple[Layer, ...]:
    """Returns the layers that have arrays: a module without inputs or without units has none."""
    return tuple(layer for layer in layout(shape) if size(layer.outputs) and (size(layer.inputs) or not layer.inputs))


def shape_from(observation: int, action: int, sizes: Mapping[tuple[str, str], int]) -> Shape:
    """Returns the sizes whose groups have these names: what `groups` would undo.

    Args:
      observation, action: lengths of observation and action.
      sizes: number of units by network and name. Names that do not belong to a layout are ignored.
    """

    def hidden(network: str, kind: str) -> tuple[int, ...]:
        names = itertools.takewhile(sizes.__contains__, ((network, f"{kind}_{k}") for k in itertools.count(1)))
        return tuple(sizes[name] for name in names)

    blocks, heads = (hidden("ofenet", "state"), hidden("ofenet", "action")), (hidden("actor", "hidden"),)
    return Shape(
        observation, action, sizes.get(("ofenet", "predictor"), 0), *blocks, *heads, hidden("critic", "hidden")
    )


def features(shape: Shape) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Returns the groups of z_o and of z_oa, in order: observation, state blocks, action, action blocks."""
    z_o = (Group("input", "observation", shape.observation), *_blocks("state", shape.state_blocks))
    return z_o, (*z_o, Group("input", "action", shape.action), *_blocks("action", shape.action_blocks))


def groups(shape: Shape) -> tuple[Group, ...]:
    """Returns every group that a network computes, in the order of the computation."""
    return tuple(dict.fromkeys(group for layer in layout(shape) for group in layer.outputs))


def size(groups: Sequence[Group]) -> int:
    """Returns the number of units of several groups."""
    return sum(group.size for group in groups)


def value_of(group: Group, units: Units, other: float = 1.0) -> Any:
    """Returns the values of a group's units, `[*twins, size]`; `other` for inputs, outputs and networks without gates.

    Args:
      group: the group.
      units: a value per unit (masks, gates), of some networks or all.
      other: the value of units that are not there.
    """
    if not group.place or group.network not in units:
        return np.full(group.size, other, np.float32)
    value = units[group.network]
    for step in group.place[1:]:
        value = value[step]
    return value


def side_by_side(layer: Layer, groups: Sequence[Group], units: Units, other: float = 1.0) -> Float[Array, "*twins n"]:
    """Returns the values of several groups at one end of a layer, `[*twins, sum of sizes]`.

    Args:
      layer: the layer; if it belongs to twins, so does the result.
      groups: its inputs or its outputs.
      units: a value per unit, as for `value_of`.
      other: the value of units that are not there.
    """
    values = [jnp.asarray(value_of(group, units, other)) for group in groups]
    if layer.network in TWINS:
        values = [jnp.broadcast_to(value, (2, value.shape[-1])) for value in values]
    return jnp.concatenate(values, axis=-1)


def flat(tree: Tree) -> dict[Path, Any]:
    """Returns the arrays of nested dictionaries by their paths."""
    return flatten_dict(tree)


def nested(arrays: dict[Path, Any], networks: Iterable[str] = ()) -> dict[str, Tree]:
    """Returns nested dictionaries from arrays by their paths; of those `networks` without arrays, empty ones."""
    return {name: {} for name in networks} | unflatten_dict(arrays)


def ones(shape: Shape, networks: tuple[str, ...] = NETWORKS) -> Units:
    """Returns the units of some networks, each with the value one."""
    return jax.tree.map(jnp.asarray, _constants(shape, networks))


def original(shape: Shape, networks: tuple[str, ...]) -> Units:
    """Returns the units of some networks, each with its own index within its layer."""
    return jax.tree.map(lambda unit: jnp.broadcast_to(jnp.arange(unit.shape[-1]), unit.shape), ones(shape, networks))


def complete(shape: Shape, units: Units, other: float = 1.0) -> Units:
    """Returns `units` with `other`, as numpy arrays, for the networks that carry no gates."""
    return _constants(shape, value=other) | units


def with_widths(shape: Shape, widths: dict[str, Any]) -> Shape:
    """Returns sizes with other widths of hidden layers.

    Args:
      shape: the sizes.
      widths: a whole number per hidden layer, as `Units` has arrays; networks that are absent stay as they are.
    """
    blocks = widths.get("ofenet", {"state": shape.state_blocks, "action": shape.action_blocks})
    return shape._replace(
        state_blocks=tuple(blocks["state"]),
        action_blocks=tuple(blocks["action"]),
        actor_hidden=tuple(widths.get("actor", shape.actor_hidden)),
        critic_hidden=tuple(widths.get("critic", shape.critic_hidden)),
    )


def _constants(shape: Shape, networks: tuple[str, ...] = NETWORKS, value: float = 1.0) -> Units:
    """Returns units with the same value, as arrays on the host."""

    def layers(widths: tuple[int, ...], *leading: int) -> tuple[np.ndarray, ...]:
        return tuple(np.full((*leading, width), value, np.float32) for width in widths)

    units = {
        "ofenet": {"state": layers(shape.state_blocks), "action": layers(shape.action_blocks)},
        "actor": layers(shape.actor_hidden),
        "critic": layers(shape.critic_hidden, 2),
    }
    return {name: units[name] for name in networks}


def _blocks(branch: str, widths: tuple[int, ...]) -> tuple[Group, ...]:
    return tuple(Group("ofenet", f"{branch}_{k + 1}", width, ("ofenet", branch, k)) for k, width in enumerate(widths))


def _densenet(branch: str, inputs: tuple[Group, ...], blocks: tuple[Group, ...]) -> list[Layer]:
    """Returns a branch of OFENet, with kernels by source: the input's to all blocks, and each block's to all later."""
    if not blocks:
        return []
    layers = [Layer(("ofenet", branch, "input"), inputs, blocks, ())]
    for k, block in enumerate(blocks):
        path = ("ofenet", branch, f"norm_{k + 1}")
        layers.append(Layer(path, (), (block,), ("scale", "bias"), ("mean", "var")))
        layers.append(Layer(("ofenet", branch, f"block_{k + 1}"), (block,), blocks[k + 1 :], ()))
    return layers


def _mlp(path: Path, inputs: tuple[Group, ...], hidden: tuple[int, ...], outputs: int) -> list[Layer]:
    network, layers = path[0], []
    for k, width in enumerate(hidden):
        group = Group(network, f"hidden_{k + 1}", width, (network, k))
        layers.append(Layer((*path, group.name), inputs, (group,)))
        inputs = (group,)
    return [*layers, Layer((*path, "head"), inputs, (Group(network, "head", outputs),))]
