"""Mean replacement: what a pruned unit gave on average stays, in the biases of the layers that read it (method, 4)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from xinet_jax import wiring
from xinet_jax.gates import Units
from xinet_jax.networks import Features, Networks, OFENet, Shape
from xinet_jax.replay import Transition
from xinet_jax.wiring import Ends

Tree = Any


def mean_outputs(
    networks: Networks, params: dict[str, Tree], statistics: Tree, units: Units, batch: Transition
) -> Units:
    """Returns what each hidden unit gives to those that read it, its gate included, as a mean over a minibatch.

    Args:
      networks: the modules.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      statistics: OFENet's running averages.
      units: the gates at which the networks are read.
      batch: transitions, `[batch, ...]`.
    """
    shape, recorded = networks.shape, ["means"]

    def features(ofenet: OFENet, observation: Array, action: Array) -> tuple[Array, Features]:
        z_o = ofenet.state_features(observation, units.get("ofenet"))
        return z_o, ofenet.action_features(z_o, action, units.get("ofenet"))

    variables = {"params": params["ofenet"], "batch_stats": statistics}
    (z_o, z_oa), ofenet = networks.ofenet.apply(
        variables, batch.observation, batch.action, method=features, mutable=recorded
    )
    _, actor = networks.actor.apply({"params": params["actor"]}, z_o, units.get("actor"), mutable=recorded)
    _, critic = networks.critic.apply({"params": params["critic"]}, z_oa, units.get("critic"), mutable=recorded)

    def layers(recorded: Tree, widths: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(recorded[f"mean_{k + 1}"][0] if width else jnp.zeros(0) for k, width in enumerate(widths))

    branches = ofenet.get("means", {})
    return {
        "ofenet": {
            "state": layers(branches.get("state", {}), shape.state_blocks),
            "action": layers(branches.get("action", {}), shape.action_blocks),
        },
        "actor": layers(actor["means"], shape.actor_hidden),
        "critic": layers(critic["means"]["twins"], shape.critic_hidden),
    }


def shifts(shape: Shape, params: dict[str, Tree], outputs: Units) -> dict[str, Tree]:
    """Returns, for every bias, what given outputs of units add up to there: a tree of the biases alone.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      outputs: a value per unit; networks that are absent count zero.
    """
    every = wiring.ends(shape, outputs, other=0.0)
    ofenet = every["ofenet"]
    return {
        "ofenet": {name: _SHIFTS[name](layers, params["ofenet"][name]) for name, layers in ofenet.items()},
        "actor": _mlp(every["actor"], params["actor"]),
        "critic": {"twins": _mlp(every["critic"]["twins"], params["critic"]["twins"])},
    }


def add(params: Tree, shift: Tree) -> Tree:
    """Returns parameters of which those that `shift` names have been shifted by it."""
    if not isinstance(shift, dict):
        return params + shift
    return params | {name: add(params[name], own) for name, own in shift.items()}


def _linear(ends: Ends, layer: Tree) -> dict[str, Array]:
    return {"bias": jnp.einsum("...i,...iu->...u", ends.inputs, layer["kernel"])}


def _mlp(layers: dict[str, Ends], params: Tree) -> Tree:
    return {name: _linear(ends, params[name]) for name, ends in layers.items()}


def _densenet(layers: dict[str, Ends], params: Tree) -> Tree:
    """A branch's blocks all have their bias in `input`. Behind it the normalisation subtracts a running mean, which
    knows the unit that is gone: the shift keeps the two in step."""
    total = _linear(layers["input"], params["input"])["bias"]
    for name, ends in layers.items():
        if name.startswith("block"):  # maps to all later blocks
            own = _linear(ends, params[name])["bias"]
            total += jnp.pad(own, (total.size - own.size, 0))
    return {"input": {"bias": total}}


_SHIFTS = {"state": _densenet, "action": _densenet, "predictor": _linear}
