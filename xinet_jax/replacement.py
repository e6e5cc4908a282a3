"""Replacement: what the units that stay can say of a pruned one moves into their outgoing weights (method, 4)."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax import gates
from xinet_jax.gates import Units
from xinet_jax.networks import Features, Networks, OFENet, Shape
from xinet_jax.replay import Transition

Tree = Any

# Of each unit's variance: some minibatches are little to learn a layer's covariances from.
RIDGE = 0.03
# Of the layer's root mean square: a unit that varies less than this is relied on less. One that hardly ever fires would
# otherwise be given a large weight, which tells when it does.
_SMALLEST_SCALE = 0.1
_ITERATIONS = 20  # of conjugate gradients: with the ridge the rest is a few percent of the mix, and less of the outputs


class Substitute(NamedTuple):
    """What stands in for a layer's lost units: `constant + outputs @ mix`; zero for the others.

    Attributes:
      constant: `[*twins, units]`.
      mix: row by row how much of a unit's output, column by column for which lost unit: `[*twins, units, units]`.
    """

    constant: Float[Array, "*twins units"]
    mix: Float[Array, "*twins units units"]


def outputs(networks: Networks, params: dict[str, Tree], statistics: Tree, units: Units, batch: Transition) -> Units:
    """Returns what each hidden unit gives to those that read it, its gate included: `[*twins, batch, units]` a layer.

    Args:
      networks: the modules.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      statistics: OFENet's running averages.
      units: the gates at which the networks are read.
      batch: transitions, `[batch, ...]`.
    """
    shape, recorded = networks.shape, ["outputs"]

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
        none = jnp.zeros((batch.reward.size, 0))
        return tuple(recorded[f"output_{k + 1}"][0] if width else none for k, width in enumerate(widths))

    branches = ofenet.get("outputs", {})
    return {
        "ofenet": {
            "state": layers(branches.get("state", {}), shape.state_blocks),
            "action": layers(branches.get("action", {}), shape.action_blocks),
        },
        "actor": layers(actor["outputs"], shape.actor_hidden),
        "critic": layers(critic["outputs"]["twins"], shape.critic_hidden),
    }


def substitute(
    output: Float[Array, "*twins batch units"], stays: Float[Array, "*twins units"], lost: Float[Array, "*twins units"]
) -> Substitute:
    """Returns the affine map that comes nearest to lost units' outputs: ridge regression on those of the others.

    Args:
      output: outputs of a layer.
      stays, lost: 1.0 for units that are there and will be, and for those that go; both 0.0 for those long gone.
    """
    mean = output.mean(axis=-2)
    deviation = output - mean[..., None, :]
    variance = jnp.square(deviation).mean(axis=-2)
    usual = (stays * variance).sum(-1, keepdims=True) / jnp.maximum(stays.sum(-1, keepdims=True), 1.0)
    scale = jnp.sqrt(jnp.maximum(variance, _SMALLEST_SCALE**2 * usual) + 1e-8)
    deviation /= scale[..., None, :]
    correlation = jnp.einsum("...bi,...bj->...ij", deviation, deviation) / output.shape[-2]
    told = stays[..., :, None] * correlation * lost[..., None, :]

    def system(mix: Array) -> Array:
        return stays[..., :, None] * (correlation @ mix) + RIDGE * mix

    # By products alone: LAPACK's Cholesky decomposition never came back inside a loop on CPU devices of one thread.
    mix, _ = jax.scipy.sparse.linalg.cg(system, told, tol=1e-3, maxiter=_ITERATIONS)
    mix *= scale[..., None, :] / scale[..., :, None]
    return Substitute(lost * mean - jnp.einsum("...i,...ij->...j", mean, mix), mix)


def shifts(shape: Shape, params: dict[str, Tree], substitutes: Units) -> dict[str, Tree]:
    """Returns what to add to kernels and biases for those who read lost units to read their substitutes instead.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic"}`.
      substitutes: a `Substitute` for each layer; of networks that are absent nothing is lost.
    """
    none = jax.tree.map(lambda unit: unit.shape[-1], gates.complete(shape, {}))
    every = none | substitutes
    state, action = every["ofenet"]["state"], every["ofenet"]["action"]
    z_o = (shape.observation, *state)
    z_oa = (*z_o, shape.action, *action)
    ofenet = {"state": (z_o[:1], state), "action": (z_oa[: len(z_o) + 1], action)}
    return {
        "ofenet": {
            name: _linear(z_oa, layers) if name == "predictor" else _densenet(*ofenet[name], layers)
            for name, layers in params["ofenet"].items()
        },
        "actor": _mlp((z_o, *((own,) for own in every["actor"])), params["actor"]),
        "critic": {"twins": _mlp((z_oa, *((own,) for own in every["critic"])), params["critic"]["twins"])},
    }


def add(params: Tree, shift: Tree) -> Tree:
    """Returns parameters of which those that `shift` names have been shifted by it."""
    if not isinstance(shift, dict):
        return params + shift
    return params | {name: add(params[name], own) for name, own in shift.items()}


Inputs = tuple[Substitute | int, ...]  # by source; an integer counts inputs of which none is lost


def _linear(inputs: Inputs, layer: Tree) -> dict[str, Array]:
    return dict(zip(("kernel", "bias"), _kernel_and_bias(inputs, layer["kernel"]), strict=True))


def _kernel_and_bias(inputs: Inputs, kernel: Array) -> tuple[Array, Array]:
    sizes = [own if isinstance(own, int) else own.constant.shape[-1] for own in inputs]
    rows, bias = [], jnp.zeros((*kernel.shape[:-2], kernel.shape[-1]))
    for own, read in zip(inputs, jnp.split(kernel, np.cumsum(sizes[:-1]), axis=-2), strict=True):
        if isinstance(own, int):
            rows.append(jnp.zeros_like(read))
        else:
            rows.append(own.mix @ read)
            bias += jnp.einsum("...i,...iu->...u", own.constant, read)
    return jnp.concatenate(rows, axis=-2), bias


def _mlp(inputs: Iterable[Inputs], params: Tree) -> Tree:
    names = [f"hidden_{k + 1}" for k in range(len(params) - 1)] + ["head"]
    return {name: _linear(own, params[name]) for name, own in zip(names, inputs, strict=True)}


def _densenet(inputs: Inputs, blocks: Inputs, layers: Tree) -> Tree:
    """A branch's blocks all have their bias in `input`. Behind it the normalisation subtracts a running mean, which
    knows the unit that is gone: the shift keeps the two in step."""
    kernel, total = _kernel_and_bias(inputs, layers["input"]["kernel"])
    shift = {}
    for k, own in enumerate(blocks):
        if f"block_{k + 1}" in layers:  # maps to all later blocks
            rows, bias = _kernel_and_bias((own,), layers[f"block_{k + 1}"]["kernel"])
            shift[f"block_{k + 1}"] = {"kernel": rows}
            total += jnp.pad(bias, (total.size - bias.size, 0))
    return shift | {"input": {"kernel": kernel, "bias": total}}
