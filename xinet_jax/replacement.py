"""Replacement: what the units that stay can say of a pruned one moves into their outgoing weights (method, 4)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
_LARGEST = 1e15  # times weights it is far from where float32 ends
_CRITICS = ("critic", "target_critic")


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
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be read.
      statistics: OFENet's running averages.
      units: the gates at which the networks are read; target critics are read at those of the critics.
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
    critics = {
        name: networks.critic.apply({"params": params[name]}, z_oa, units.get("critic"), mutable=recorded)[1]
        for name in _CRITICS
        if name in params
    }

    def layers(recorded: Tree, widths: tuple[int, ...]) -> tuple[Array, ...]:
        none = jnp.zeros((batch.reward.size, 0))
        return tuple(recorded[f"output_{k + 1}"][0] if width else none for k, width in enumerate(widths))

    branches = ofenet.get("outputs", {})
    heads = {name: layers(critic["outputs"]["twins"], shape.critic_hidden) for name, critic in critics.items()}
    return {
        "ofenet": {
            "state": layers(branches.get("state", {}), shape.state_blocks),
            "action": layers(branches.get("action", {}), shape.action_blocks),
        },
        "actor": layers(actor["outputs"], shape.actor_hidden),
        **heads,
    }


def substitute(
    output: Float[Array, "batch units"], stays: Float[Array, " units"], lost: Float[Array, " units"]
) -> Substitute:
    """Returns the affine map that comes nearest to lost units' outputs: ridge regression on those of the others.

    It is zero for all of the layer if one of its outputs is not finite.

    Args:
      output: outputs of a layer.
      stays, lost: 1.0 for units that are there and will be, and for those that go; both 0.0 for those long gone.
    """
    mean = output.mean(axis=0)
    variance = jnp.square(output - mean).mean(axis=0)
    usual = (stays * variance).sum() / jnp.maximum(stays.sum(), 1.0)
    scale = jnp.sqrt(jnp.maximum(variance, _SMALLEST_SCALE**2 * usual) + 1e-8)
    deviation = (output - mean) / scale
    correlation = deviation.T @ deviation / output.shape[0]

    def system(mix: Array) -> Array:
        return stays[:, None] * (correlation @ mix) + RIDGE * mix

    # By products alone: LAPACK's Cholesky decomposition never came back inside a loop on CPU devices of one thread.
    told = stays[:, None] * correlation * lost
    mix, _ = jax.scipy.sparse.linalg.cg(system, told, tol=1e-3, maxiter=_ITERATIONS)
    mix *= scale / scale[:, None]
    constant = lost * mean - mean @ mix
    sound = (jnp.abs(constant) < _LARGEST).all() & (jnp.abs(mix) < _LARGEST).all()  # NaN is not
    return Substitute(jnp.where(sound, constant, 0.0), jnp.where(sound, mix, 0.0))


def substitutes(outputs: Units, stays: Units, lost: Units) -> Units:
    """Returns a `Substitute` for each layer of the networks that `lost` names; target critics lose what critics do.

    Args:
      outputs: every layer's outputs, target critics' among them or not.
      stays, lost: 1.0 for units that are there and will be, and for those that go.
    """
    if "critic" in lost and "target_critic" in outputs:
        stays, lost = ({**units, "target_critic": units["critic"]} for units in (stays, lost))
    found = {}
    for group in (("ofenet",), ("actor", *_CRITICS)):
        every = ({name: units[name] for name in group if name in lost} for units in (outputs, stays, lost))
        found |= _in_a_loop(*every)
    return found


def _in_a_loop(outputs: Units, stays: Units, lost: Units) -> Units:
    """Makes layers equally wide for one loop to have them all: each by itself, they compile as long as an update."""
    layers, structure = jax.tree.flatten(outputs)
    if not layers:
        return outputs
    width = max(layer.shape[-1] for layer in layers)

    def stack(units: Units, rank: int) -> Array:
        def rows(leaf: Array) -> Array:
            wide = jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, width - leaf.shape[-1])])
            return wide if wide.ndim > rank else wide[None]  # of twins each is a row

        return jnp.concatenate([rows(leaf) for leaf in jax.tree.leaves(units)])

    stacks = (stack(outputs, 2), stack(stays, 1), stack(lost, 1))
    every = jax.lax.map(lambda own: substitute(*own), stacks)
    found, taken = [], 0
    for *twins, _, own in (layer.shape for layer in layers):
        here = slice(taken, taken := taken + math.prod(twins))
        constant = every.constant[here, :own].reshape(*twins, own)
        found.append(Substitute(constant, every.mix[here, :own, :own].reshape(*twins, own, own)))
    return jax.tree.unflatten(structure, found)


def shifts(shape: Shape, params: dict[str, Tree], substitutes: Units) -> dict[str, Tree]:
    """Returns what to add to kernels and biases for those who read lost units to read their substitutes instead.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be shifted.
      substitutes: a `Substitute` for each layer; of networks that are absent nothing is lost.
    """
    none = jax.tree.map(_nothing, gates.ones(shape))
    every = none | {"target_critic": none["critic"]} | substitutes
    blocks = every["ofenet"]
    observation, action = _nothing(jnp.zeros(shape.observation)), _nothing(jnp.zeros(shape.action))
    z_o, z_o_action, z_oa = map(_side_by_side, gates.in_order_of_features(observation, action, blocks))
    read = {"state": observation, "action": z_o_action}
    ofenet = {
        name: _linear(z_oa, layers) if name == "predictor" else _densenet(read[name], blocks[name], layers)
        for name, layers in params["ofenet"].items()
    }
    critics = {
        name: {"twins": _mlp((z_oa, *every[name]), params[name]["twins"])} for name in _CRITICS if name in params
    }
    return {"ofenet": ofenet, "actor": _mlp((z_o, *every["actor"]), params["actor"]), **critics}


def add(params: Tree, shift: Tree) -> Tree:
    """Returns parameters of which those that `shift` names have been shifted by it."""
    if not isinstance(shift, dict):
        return params + shift
    return params | {name: add(params[name], own) for name, own in shift.items()}


def _nothing(units: Array) -> Substitute:
    return Substitute(jnp.zeros(units.shape), jnp.zeros((*units.shape, units.shape[-1])))


def _side_by_side(layers: tuple[Substitute, ...]) -> Substitute:
    constants, mixes = zip(*layers, strict=True)
    return Substitute(jnp.concatenate(constants), jax.scipy.linalg.block_diag(*mixes))


def _linear(inputs: Substitute, layer: Tree) -> dict[str, Array]:
    kernel = layer["kernel"]
    return {"kernel": inputs.mix @ kernel, "bias": jnp.einsum("...i,...iu->...u", inputs.constant, kernel)}


def _mlp(inputs: tuple[Substitute, ...], params: Tree) -> Tree:
    names = [f"hidden_{k + 1}" for k in range(len(params) - 1)] + ["head"]
    return {name: _linear(own, params[name]) for name, own in zip(names, inputs, strict=True)}


def _densenet(inputs: Substitute, blocks: tuple[Substitute, ...], layers: Tree) -> Tree:
    """A branch's blocks all have their bias in `input`. Behind it the normalisation subtracts a running mean, which
    knows the unit that is gone: the shift keeps the two in step."""
    shift = {"input": _linear(inputs, layers["input"])}
    for k, own in enumerate(blocks):
        if f"block_{k + 1}" in layers:  # maps to all later blocks
            block = _linear(own, layers[f"block_{k + 1}"])
            shift[f"block_{k + 1}"] = {"kernel": block["kernel"]}
            shift["input"]["bias"] += jnp.pad(block["bias"], (shift["input"]["bias"].size - block["bias"].size, 0))
    return shift
