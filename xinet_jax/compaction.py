"""Takes pruned units out of every array that holds them (method, section 5).

A *plan* is a tree shaped like the parameters, whose leaves say which indices of each axis stay. It is made once from
the units that stay and applies alike to parameters, target parameters and optimiser moments.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from xinet_jax import gates
from xinet_jax.agent import Agent, AgentState
from xinet_jax.gates import Units
from xinet_jax.networks import Shape, make_networks

Tree = Any
Indices = tuple[np.ndarray, ...]


class Kept(NamedTuple):
    """The units that stay, per layer: their indices, ascending."""

    state: Indices
    action: Indices
    actor: Indices
    critics: tuple[Indices, Indices]


class Keep(NamedTuple):
    """The indices that stay, per axis of one array."""

    axes: Indices


class Plan(NamedTuple):
    """What stays of each network's arrays: trees of `Keep`, shaped like the parameters.

    Attributes:
      ofenet, actor: parameters.
      critics: parameters of each critic, without the twin axis.
      statistics: OFENet's running averages.
    """

    ofenet: Tree
    actor: Tree
    critics: tuple[Tree, Tree]
    statistics: Tree


def alive_units(shape: Shape, alive: Units) -> Kept:
    """Returns the units of one agent that are not pruned; networks that are absent from `alive` stay whole."""
    alive = jax.tree.map(np.asarray, gates.complete(shape, alive))
    state, action, actor = (
        tuple(map(np.flatnonzero, layers))
        for layers in (alive["ofenet"]["state"], alive["ofenet"]["action"], alive["actor"])
    )
    first, second = (tuple(np.flatnonzero(layer[twin]) for layer in alive["critic"]) for twin in range(2))
    return Kept(state, action, actor, (first, second))


def padded_units(shape: Shape, alive: Units, widths: Shape) -> Kept:
    """Returns the units of one agent that are not pruned, and as many pruned ones as fill up the given widths."""

    def fill(layer: np.ndarray, width: int) -> np.ndarray:
        return np.sort(np.argsort(layer < 0.5, kind="stable")[:width])

    alive = jax.tree.map(np.asarray, gates.complete(shape, alive))
    state = tuple(map(fill, alive["ofenet"]["state"], widths.state_blocks))
    action = tuple(map(fill, alive["ofenet"]["action"], widths.action_blocks))
    actor = tuple(map(fill, alive["actor"], widths.actor_hidden))
    first, second = (
        tuple(fill(layer[twin], width) for layer, width in zip(alive["critic"], widths.critic_hidden, strict=True))
        for twin in range(2)
    )
    return Kept(state, action, actor, (first, second))


def padded_widths(shape: Shape, alive: Units, multiple: int) -> Shape:
    """Returns the sizes that hold every member's units, with layers rounded up to a multiple, but never made wider.

    Args:
      shape: the sizes now.
      alive: masks with a leading member axis.
      multiple: what layers are rounded up to a multiple of; a layer without units in any member is left out.
    """

    def width(layer: Array | np.ndarray) -> int:
        widest = int(layer.sum(axis=-1).max())
        return min(layer.shape[-1], -(-widest // multiple) * multiple)

    widths = {name: jax.tree.map(width, units) for name, units in alive.items()}
    ofenet = widths.get("ofenet", {"state": shape.state_blocks, "action": shape.action_blocks})
    return shape._replace(
        state_blocks=ofenet["state"],
        action_blocks=ofenet["action"],
        actor_hidden=widths.get("actor", shape.actor_hidden),
        critic_hidden=widths.get("critic", shape.critic_hidden),
    )


def compact(agent: Agent, state: AgentState, widths: Shape) -> tuple[Agent, AgentState]:
    """Returns the same agents in smaller arrays. They go on as they would have, but for rounding: speed changes.

    Args:
      agent: the agent.
      state: its members' states, with a leading member axis.
      widths: the sizes to come down to, from `padded_widths`.
    """
    state = jax.tree.map(np.asarray, state)
    shape, count = agent.networks.shape, state.params["temperature"].shape[0]
    members = (jax.tree.map(lambda leaf, m=member: leaf[m], state) for member in range(count))
    smaller = [compact_member(shape, member, padded_units(shape, member.alive, widths)) for member in members]
    stacked = jax.tree.map(lambda *leaves: jax.numpy.asarray(np.stack(leaves)), *smaller)
    return agent._replace(networks=make_networks(widths)), stacked


def compact_member(shape: Shape, state: AgentState, kept: Kept) -> AgentState:
    """Returns one member's state with only some of its units left in it.

    Args:
      shape: the sizes before.
      state: arrays on the host, with no member axis.
      kept: the units that stay.
    """
    chosen = plan(shape, kept)

    def parameters(params: dict[str, Tree]) -> dict[str, Tree]:
        twins = [
            take(own, jax.tree.map(lambda leaf, t=twin: leaf[t], params["critic"]["twins"]))
            for twin, own in enumerate(chosen.critics)
        ]
        return params | {
            "ofenet": take(chosen.ofenet, params["ofenet"]),
            "actor": take(chosen.actor, params["actor"]),
            "critic": {"twins": jax.tree.map(lambda *leaves: np.stack(leaves), *twins)},
        }

    def units(values: Units) -> Units:
        taken = {
            "ofenet": lambda own: {
                "state": _each(own["state"], kept.state),
                "action": _each(own["action"], kept.action),
            },
            "actor": lambda own: _each(own, kept.actor),
            "critic": lambda own: tuple(
                np.stack([layer[twin][kept.critics[twin][k]] for twin in range(2)]) for k, layer in enumerate(own)
            ),
        }
        return {name: taken[name](own) for name, own in values.items()}

    moments = state.optimiser
    mu, nu = (parameters({name: getattr(own, part) for name, own in moments.items()}) for part in ("mu", "nu"))
    return state._replace(
        params=parameters(state.params),
        target_critic=parameters(state.params | {"critic": state.target_critic})["critic"],
        statistics=take(chosen.statistics, state.statistics),
        optimiser={name: own._replace(mu=mu[name], nu=nu[name]) for name, own in moments.items()},
        theta=units(state.theta),
        alive=units(state.alive),
        origin=units(state.origin),
    )


def plan(shape: Shape, kept: Kept) -> Plan:
    """Returns what stays of one agent's arrays.

    Args:
      shape: the sizes before.
      kept: the units that stay.
    """
    state, state_statistics, z_o = _densenet(
        np.arange(shape.observation), shape.observation, shape.state_blocks, kept.state
    )
    inputs = shape.state_features + shape.action
    z_o_action = np.concatenate([z_o, np.arange(shape.state_features, inputs)])
    action, action_statistics, z_oa = _densenet(z_o_action, inputs, shape.action_blocks, kept.action)
    ofenet = {"state": state, "action": action}
    if shape.state_blocks or shape.action_blocks:
        ofenet["predictor"] = _dense(z_oa, np.arange(shape.predicted))
    first, second = (_mlp(z_oa, units, 1) for units in kept.critics)
    return Plan(
        ofenet=_without_empty(ofenet),
        actor=_mlp(z_o, kept.actor, 2 * shape.action),
        critics=(first, second),
        statistics=_without_empty({"state": state_statistics, "action": action_statistics}),
    )


def take(plan: Tree, arrays: Tree) -> Tree:
    """Returns the arrays with only the planned indices left. Arrays with nothing left are dropped, as the modules do.

    Args:
      plan: a tree of `Keep`.
      arrays: a tree of the same structure: parameters, or optimiser moments of their shape.
    """
    taken = jax.tree.map(lambda keep, array: np.asarray(array)[np.ix_(*keep.axes)], plan, arrays, is_leaf=_is_keep)
    return _without_empty(taken)


def place(plan: Tree, arrays: Tree, like: Tree) -> Tree:
    """Returns larger arrays with some arrays at the planned indices and zeros elsewhere: what `take` would undo.

    Args:
      plan: a tree of `Keep`.
      arrays: a tree of the same structure, but for arrays without elements.
      like: a tree of the larger arrays' structure and shapes.
    """
    if isinstance(plan, Keep):
        placed = np.zeros(like.shape, like.dtype)
        if arrays is not None:
            placed[np.ix_(*plan.axes)] = arrays
        return placed
    return {name: place(own, (arrays or {}).get(name), like[name]) for name, own in plan.items()}


def _each(layers: Indices, kept: Indices) -> Indices:
    return tuple(layer[units] for layer, units in zip(layers, kept, strict=True))


def _densenet(kept_inputs: np.ndarray, inputs: int, widths: tuple[int, ...], kept: Indices) -> tuple[Tree, Tree, Any]:
    """Returns plans for a branch's parameters and statistics, and the indices that stay of its features.

    The plans speak of the arrays that there are: a block without units has none.
    """
    if not sum(widths):
        return {}, {}, kept_inputs
    offsets = np.cumsum([0, *widths])

    def columns(first: int) -> np.ndarray:
        return np.concatenate([offsets[k] - offsets[first] + kept[k] for k in range(first, len(widths))])

    params: Tree = {"input": _dense(kept_inputs, columns(0))}
    statistics: Tree = {}
    for k, units in enumerate(kept):
        if not widths[k]:
            continue
        params[f"norm_{k + 1}"] = {"scale": Keep((units,)), "bias": Keep((units,))}
        statistics[f"norm_{k + 1}"] = {"mean": Keep((units,)), "var": Keep((units,))}
        if offsets[-1] > offsets[k + 1]:
            params[f"block_{k + 1}"] = {"kernel": Keep((units, columns(k + 1)))}
    features = [kept_inputs, *(inputs + offsets[k] + units for k, units in enumerate(kept))]
    return params, statistics, np.concatenate(features)


def _mlp(inputs: np.ndarray, kept: Indices, outputs: int) -> Tree:
    params = {}
    for k, units in enumerate(kept):
        params[f"hidden_{k + 1}"] = _dense(inputs, units)
        inputs = units
    return params | {"head": _dense(inputs, np.arange(outputs))}


def _dense(rows: np.ndarray, columns: np.ndarray) -> Tree:
    return {"kernel": Keep((rows, columns)), "bias": Keep((columns,))}


def _is_keep(x: Any) -> bool:
    return isinstance(x, Keep)


def _without_empty(tree: Tree) -> Tree:
    if not isinstance(tree, dict):
        return tree
    smaller = {name: _without_empty(item) for name, item in tree.items()}
    return {name: item for name, item in smaller.items() if not _is_empty(item)}


def _is_empty(item: Tree) -> bool:
    return not (item if isinstance(item, (dict, Keep)) else item.size)
