"""Takes pruned units out of every array that holds them (method, section 5).

A *plan* is a tree shaped like the parameters, whose leaves say which indices of each axis stay. It is made once from
the units that stay and applies alike to parameters, target parameters and optimiser moments.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from xinet_jax import gates, wiring
from xinet_jax.gates import Units
from xinet_jax.networks import Shape, make_networks
from xinet_jax.state import Agent, AgentState
from xinet_jax.wiring import Ends

Tree = Any


class Keep(NamedTuple):
    """The indices that stay, per axis of one array."""

    axes: tuple[np.ndarray, ...]


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


def padded(alive: Units, widths: Shape) -> Units:
    """Returns masks of the units of one agent that stay: those not pruned, and pruned ones to fill up given widths."""

    def fill(layer: Array | np.ndarray, full: Array) -> np.ndarray:
        order = np.argsort(np.asarray(layer) < 0.5, axis=-1, kind="stable")
        kept = np.zeros(layer.shape, np.float32)
        np.put_along_axis(kept, order[..., : full.shape[-1]], 1.0, axis=-1)
        return kept

    return jax.tree.map(fill, alive, gates.ones(widths, tuple(alive)))


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
    smaller = [compact_member(shape, member, padded(member.alive, widths)) for member in members]
    stacked = jax.tree.map(lambda *leaves: jax.numpy.asarray(np.stack(leaves)), *smaller)
    return agent._replace(networks=make_networks(widths, agent.networks.precision)), stacked


def compact_member(shape: Shape, state: AgentState, kept: Units) -> AgentState:
    """Returns one member's state with only some of its units left in it.

    Args:
      shape: the sizes before.
      state: arrays on the host, with no member axis.
      kept: masks of the units that stay, as many in one critic as in the other.
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
        return jax.tree.map(lambda own, mask: own[mask > 0.5].reshape(*own.shape[:-1], -1), values, kept)

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


def plan(shape: Shape, kept: Units) -> Plan:
    """Returns what stays of one agent's arrays.

    Args:
      shape: the sizes before.
      kept: masks of the units that stay; networks that are absent stay whole.
    """
    every = wiring.ends(shape, kept)

    def layer(ends: Ends) -> dict[str, Keep]:
        units = np.flatnonzero(ends.units)
        vectors = {name: Keep((units,)) for name in ends.vectors}
        return vectors if ends.inputs is None else vectors | {"kernel": Keep((np.flatnonzero(ends.inputs), units))}

    def averages(ends: Ends) -> dict[str, Keep]:
        return {name: Keep((np.flatnonzero(ends.units),)) for name in ("mean", "var")}

    first, second = (
        {name: layer(Ends(ends.inputs[twin], ends.units[twin])) for name, ends in every["critic"]["twins"].items()}
        for twin in range(2)
    )
    return Plan(
        ofenet=jax.tree.map(layer, every["ofenet"], is_leaf=wiring.is_ends),
        actor=jax.tree.map(layer, every["actor"], is_leaf=wiring.is_ends),
        critics=(first, second),
        statistics={
            branch: {name: averages(ends) for name, ends in layers.items() if ends.inputs is None}
            for branch, layers in every["ofenet"].items()
            if branch != "predictor"
        },
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


def _is_keep(x: Any) -> bool:
    return isinstance(x, Keep)


def _without_empty(tree: Tree) -> Tree:
    if not isinstance(tree, dict):
        return tree
    smaller = {name: _without_empty(item) for name, item in tree.items()}
    return {name: item for name, item in smaller.items() if not _is_empty(item)}


def _is_empty(item: Tree) -> bool:
    return not (item if isinstance(item, (dict, Keep)) else item.size)
