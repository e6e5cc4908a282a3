"""Takes pruned units out of every array that holds them (method, section 5).

A *plan* is a tree shaped like the parameters, whose leaves say which indices of each axis stay. It is made once from
the alive masks and applies alike to parameters, target parameters and optimiser moments.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Shape

Tree = Any


class Keep(NamedTuple):
    """The indices that stay, per axis of one array."""

    axes: tuple[np.ndarray, ...]


class Plan(NamedTuple):
    """What stays of each network.

    Attributes:
      shape: the sizes left; of critics, which may differ from twin to twin, see `critic_hidden`.
      critic_hidden: the hidden widths left of each critic.
      ofenet, actor: trees of `Keep`, shaped like the parameters.
      critics: one such tree per critic, for parameters without the twin axis.
      statistics: the same for OFENet's running averages.
    """

    shape: Shape
    critic_hidden: tuple[tuple[int, ...], tuple[int, ...]]
    ofenet: Tree
    actor: Tree
    critics: tuple[Tree, Tree]
    statistics: Tree


def plan(shape: Shape, alive: Units) -> Plan:
    """Returns what stays of one agent's networks.

    Args:
      shape: the sizes before.
      alive: masks of one agent, with no member axis; networks that are absent stay whole.
    """
    alive = jax.tree.map(np.asarray, gates.complete(shape, alive))
    kept = jax.tree.map(np.flatnonzero, {"ofenet": alive["ofenet"], "actor": alive["actor"]})
    kept_twins = [tuple(np.flatnonzero(layer[twin]) for layer in alive["critic"]) for twin in range(2)]

    observation = np.arange(shape.observation)
    state, state_statistics, z_o = _densenet(
        observation, shape.observation, shape.state_blocks, kept["ofenet"]["state"]
    )
    inputs = shape.state_features + shape.action
    z_o_action = np.concatenate([z_o, np.arange(shape.state_features, inputs)])
    action, action_statistics, z_oa = _densenet(z_o_action, inputs, shape.action_blocks, kept["ofenet"]["action"])
    ofenet = {"state": state, "action": action, "predictor": _dense(z_oa, np.arange(shape.predicted))}
    has_blocks = bool(shape.state_blocks or shape.action_blocks)
    return Plan(
        shape=shape._replace(
            state_blocks=_widths(kept["ofenet"]["state"]),
            action_blocks=_widths(kept["ofenet"]["action"]),
            actor_hidden=_widths(kept["actor"]),
        ),
        critic_hidden=(_widths(kept_twins[0]), _widths(kept_twins[1])),
        ofenet=ofenet if has_blocks else {},
        actor=_mlp(z_o, kept["actor"], 2 * shape.action),
        critics=(_mlp(z_oa, kept_twins[0], 1), _mlp(z_oa, kept_twins[1], 1)),
        statistics={"state": state_statistics, "action": action_statistics} if has_blocks else {},
    )


def take(plan: Tree, arrays: Tree) -> Tree:
    """Returns the arrays with only the planned indices left. Arrays with nothing left are dropped, as the modules do.

    Args:
      plan: a tree of `Keep`.
      arrays: a tree of the same structure: parameters, or optimiser moments of their shape.
    """
    taken = jax.tree.map(lambda keep, array: np.asarray(array)[np.ix_(*keep.axes)], plan, arrays, is_leaf=_is_keep)
    return _without_empty(taken)


def fold(shape: Shape, params: dict[str, Tree], theta: Units) -> dict[str, Tree]:
    """Returns networks without gates that compute the same: each unit's mean gate moves into its outgoing weights.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      theta: its mean gates; networks that are absent stay as they are.
    """
    theta = jax.tree.map(np.asarray, gates.complete(shape, theta))
    state, action = theta["ofenet"]["state"], theta["ofenet"]["action"]
    z_o = np.concatenate([np.ones(shape.observation), *state])
    z_o_action = np.concatenate([z_o, np.ones(shape.action)])
    z_oa = np.concatenate([z_o_action, *action])
    ofenet = dict(params["ofenet"])
    if shape.state_blocks or shape.action_blocks:
        ofenet["state"] = _scale_densenet(ofenet["state"], np.ones(shape.observation), state)
        ofenet["action"] = _scale_densenet(ofenet["action"], z_o_action, action)
        ofenet["predictor"] = _scale_rows(ofenet["predictor"], z_oa)
    twins = params["critic"]["twins"]
    return {
        "ofenet": ofenet,
        "actor": _scale_mlp(params["actor"], [z_o, *theta["actor"]]),
        "critic": {"twins": _scale_mlp(twins, [np.stack([z_oa, z_oa]), *theta["critic"]])},
    }


def _densenet(
    kept_inputs: np.ndarray, inputs: int, widths: tuple[int, ...], kept: tuple[np.ndarray, ...]
) -> tuple[Tree, Tree, np.ndarray]:
    """Returns plans for a branch's parameters and statistics, and the indices that stay of its features."""
    if not widths:
        return {}, {}, kept_inputs
    offsets = np.cumsum([0, *widths])

    def columns(first: int) -> np.ndarray:
        return np.concatenate([offsets[k] - offsets[first] + kept[k] for k in range(first, len(widths))])

    params: Tree = {"input": _dense(kept_inputs, columns(0))}
    statistics: Tree = {}
    for k, units in enumerate(kept):
        params[f"norm_{k + 1}"] = {"scale": Keep((units,)), "bias": Keep((units,))}
        statistics[f"norm_{k + 1}"] = {"mean": Keep((units,)), "var": Keep((units,))}
        if k + 1 < len(widths):
            params[f"block_{k + 1}"] = {"kernel": Keep((units, columns(k + 1)))}
    features = [kept_inputs, *(inputs + offsets[k] + units for k, units in enumerate(kept))]
    return params, statistics, np.concatenate(features)


def _mlp(inputs: np.ndarray, kept: tuple[np.ndarray, ...], outputs: int) -> Tree:
    params = {}
    for k, units in enumerate(kept):
        params[f"hidden_{k + 1}"] = _dense(inputs, units)
        inputs = units
    return params | {"head": _dense(inputs, np.arange(outputs))}


def _dense(rows: np.ndarray, columns: np.ndarray) -> Tree:
    return {"kernel": Keep((rows, columns)), "bias": Keep((columns,))}


def _widths(kept: tuple[np.ndarray, ...]) -> tuple[int, ...]:
    return tuple(len(units) for units in kept)


def _is_keep(x: Any) -> bool:
    return isinstance(x, Keep)


def _without_empty(tree: Tree) -> Tree:
    if not isinstance(tree, dict):
        return tree
    smaller = {name: _without_empty(item) for name, item in tree.items()}
    return {name: item for name, item in smaller.items() if (len(item) if isinstance(item, dict) else item.size)}


def _scale_rows(layer: Tree, scale: np.ndarray) -> Tree:
    return layer | {"kernel": np.asarray(layer["kernel"]) * scale[..., None].astype(np.float32)}


def _scale_densenet(branch: Tree, inputs: np.ndarray, theta: tuple[np.ndarray, ...]) -> Tree:
    scales = {"input": inputs} | {f"block_{k + 1}": unit for k, unit in enumerate(theta[:-1])}
    return branch | {name: _scale_rows(branch[name], scale) for name, scale in scales.items()}


def _scale_mlp(layers: Tree, scales: list[np.ndarray]) -> Tree:
    names = [f"hidden_{k + 1}" for k in range(len(scales) - 1)] + ["head"]
    return {name: _scale_rows(layers[name], scale) for name, scale in zip(names, scales, strict=True)}
