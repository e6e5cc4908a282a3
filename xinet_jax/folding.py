"""Folds gates into weights: what a gate multiplies, its unit's outgoing weights can be multiplied by instead."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Shape

Tree = Any


def fold(shape: Shape, params: dict[str, Tree], theta: Units) -> dict[str, Tree]:
    """Returns networks without gates that compute the same: each unit's mean gate moves into its outgoing weights.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      theta: its mean gates; networks that are absent stay as they are.
    """
    theta = jax.tree.map(jnp.asarray, gates.complete(shape, theta))
    state, action = theta["ofenet"]["state"], theta["ofenet"]["action"]
    z_o, z_o_action, z_oa = gates.of_features(shape, theta)
    ofenet = dict(params["ofenet"])
    if "state" in ofenet:
        ofenet["state"] = _scale_densenet(ofenet["state"], jnp.ones(shape.observation), state)
    if "action" in ofenet:
        ofenet["action"] = _scale_densenet(ofenet["action"], z_o_action, action)
    if "predictor" in ofenet:
        ofenet["predictor"] = _scale_rows(ofenet["predictor"], z_oa)
    twins = params["critic"]["twins"]
    return {
        "ofenet": ofenet,
        "actor": _scale_mlp(params["actor"], [z_o, *theta["actor"]]),
        "critic": {"twins": _scale_mlp(twins, [jnp.stack([z_oa, z_oa]), *theta["critic"]])},
    }


def _scale_rows(layer: Tree, scale: Array) -> Tree:
    return layer | {"kernel": layer["kernel"] * scale[..., None]}


def _scale_densenet(branch: Tree, inputs: Array, theta: tuple[Array, ...]) -> Tree:
    scales = {"input": inputs} | {f"block_{k + 1}": unit for k, unit in enumerate(theta[:-1])}
    return branch | {name: _scale_rows(branch[name], scale) for name, scale in scales.items() if name in branch}


def _scale_mlp(layers: Tree, scales: list[Array]) -> Tree:
    names = [f"hidden_{k + 1}" for k in range(len(scales) - 1)] + ["head"]
    return {name: _scale_rows(layers[name], scale) for name, scale in zip(names, scales, strict=True)}
