"""Replacement: what the units that stay can say of pruned ones moves into their outgoing weights (method, 4)."""

import math
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
_LARGEST = 1e15  # times weights it is far from where float32 ends
_CRITICS = ("critic", "target_critic")
_FIRST = "hidden_1"


class Substitute(NamedTuple):
    """What stands in for what is missing of a layer's outputs: `constant + outputs @ mix`.

    Attributes:
      constant: `[*twins, units]`.
      mix: row by row how much of a unit's output, column by column for which unit: `[*twins, units, units]`.
    """

    constant: Float[Array, "*twins units"]
    mix: Float[Array, "*twins units units"]


def without(
    networks: Networks,
    params: dict[str, Tree],
    statistics: Tree,
    units: Units,
    stays: Units,
    lost: Units,
    batch: Transition,
    ridge: float = RIDGE,
) -> tuple[dict[str, Tree], Tree]:
    """Returns parameters and statistics with which networks that lose units compute nearly what they did before.

    First every layer says what it can of the units that it loses. Then all that read OFENet's features are told what is
    missing of these by all that is left of them, by observation and action too.

    Args:
      networks: the modules.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be changed.
      statistics: OFENet's running averages.
      units: the gates at which the networks are read; target critics are read at those of the critics.
      stays, lost: of the networks that lose units, 1.0 for units that are there and will be, and for those that go;
        both 0.0 for those long gone.
      batch: transitions, `[batch, ...]`, to learn from.
      ridge: of each unit's variance; if large, units leave little but their means behind.
    """
    before = outputs(networks, params, statistics, units, batch)
    shift, moved_means = shifts(networks.shape, params, substitutes(before, stays, lost, ridge))
    params, statistics = add(params, shift), add(statistics, moved_means)
    if "ofenet" not in lost:
        return params, statistics
    left = units | {"ofenet": jax.tree.map(jnp.multiply, units["ofenet"], stays["ofenet"])}
    after = outputs(networks, params, statistics, left, batch)
    told = []
    for mask, then, now in zip(
        _masks(networks.shape, stays), _features(before, batch), _features(after, batch), strict=True
    ):
        told.append(substitute(now, mask, then - now, ridge))
    return add(params, readers_shifts(params, *told)), statistics


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
    output: Float[Array, "batch units"],
    stays: Float[Array, " units"],
    missing: Float[Array, "batch units"],
    ridge: float = RIDGE,
) -> Substitute:
    """Returns the affine map of outputs that comes nearest to what is missing of them, by ridge regression.

    It is zero for all of the layer if anything is not finite.

    Args:
      output: outputs of a layer.
      stays: 1.0 for units to learn from, else 0.0.
      missing: what is missing of each unit's output.
      ridge: of each unit's variance.
    """
    mean, middle = output.mean(axis=0), missing.mean(axis=0)
    variance = jnp.square(output - mean).mean(axis=0)
    usual = (stays * variance).sum() / jnp.maximum(stays.sum(), 1.0)
    scale = jnp.sqrt(jnp.maximum(variance, _SMALLEST_SCALE**2 * usual) + 1e-8)
    deviation = (output - mean) / scale
    correlation = deviation.T @ deviation / output.shape[0]
    # Equally large columns, so that the iterations come equally near to all.
    size = jnp.sqrt(jnp.square(missing - middle).mean(axis=0) + 1e-8)
    told = stays[:, None] * (deviation.T @ ((missing - middle) / size)) / output.shape[0]

    def system(mix: Array) -> Array:
        return stays[:, None] * (correlation @ mix) + ridge * mix

    # By products alone: LAPACK's Cholesky decomposition never came back inside a loop on CPU devices of one thread.
    mix, _ = jax.scipy.sparse.linalg.cg(system, told, tol=1e-3, maxiter=_ITERATIONS)
    mix *= size / scale[:, None]
    constant = middle - mean @ mix
    sound = (jnp.abs(constant) < _LARGEST).all() & (jnp.abs(mix) < _LARGEST).all()  # NaN is not
    return Substitute(jnp.where(sound, constant, 0.0), jnp.where(sound, mix, 0.0))


def substitutes(outputs: Units, stays: Units, lost: Units, ridge: float = RIDGE) -> Units:
    """Returns a `Substitute` for each layer of the networks that `lost` names; target critics lose what critics do.

    Args:
      outputs: every layer's outputs, target critics' among them or not.
      stays, lost: 1.0 for units that are there and will be, and for those that go.
      ridge: of each unit's variance.
    """
    if "critic" in lost and "target_critic" in outputs:
        stays, lost = ({**units, "target_critic": units["critic"]} for units in (stays, lost))
    found = {}
    for group in (("ofenet",), ("actor", *_CRITICS)):
        every = ({name: units[name] for name in group if name in lost} for units in (outputs, stays, lost))
        found |= _in_a_loop(*every, ridge)
    return found


def _in_a_loop(outputs: Units, stays: Units, lost: Units, ridge: float) -> Units:
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
    every = jax.lax.map(lambda own: substitute(*own[:2], own[0] * own[2], ridge), stacks)
    found, taken = [], 0
    for *twins, _, own in (layer.shape for layer in layers):
        here = slice(taken, taken := taken + math.prod(twins))
        constant = every.constant[here, :own].reshape(*twins, own)
        found.append(Substitute(constant, every.mix[here, :own, :own].reshape(*twins, own, own)))
    return jax.tree.unflatten(structure, found)


def shifts(shape: Shape, params: dict[str, Tree], substitutes: Units) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Returns what to add to the layers behind hidden ones, and to OFENet's statistics, to read substitutes.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be shifted.
      substitutes: a `Substitute` for each layer; of networks that are absent nothing is lost.

    Returns:
      For OFENet's branches, and for the heads but their first layers: what reads features is shifted by all of them.
      And for the running means of OFENet's normalisations, which take the place of biases.
    """
    none = jax.tree.map(_nothing, gates.ones(shape))
    every = none | {"target_critic": none["critic"]} | substitutes
    blocks = every["ofenet"]
    observation, action = _nothing(jnp.zeros(shape.observation)), _nothing(jnp.zeros(shape.action))
    _, z_o_action, _ = gates.in_order_of_features(observation, action, blocks)
    read = {"state": observation, "action": _side_by_side(z_o_action)}
    branches = {
        name: _densenet(read[name], blocks[name], layers) for name, layers in params["ofenet"].items() if name in read
    }
    critics = {name: {"twins": _behind(every[name], params[name]["twins"])} for name in _CRITICS if name in params}
    kernels, means = ({name: branch[part] for name, branch in branches.items()} for part in range(2))
    return {"ofenet": kernels, "actor": _behind(every["actor"], params["actor"]), **critics}, means


def readers_shifts(params: dict[str, Tree], z_o: Substitute, z_oa: Substitute) -> dict[str, Tree]:
    """Returns what to add to the layers that read OFENet's features for them to read substitutes as well.

    Args:
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be shifted.
      z_o, z_oa: a `Substitute` for the features of states, and for those of states and actions.
    """
    ofenet = {name: _linear(z_oa, own) for name, own in params["ofenet"].items() if name == "predictor"}
    first = lambda inputs, layers: {_FIRST: _linear(inputs, layers[_FIRST])}  # noqa: E731
    critics = {name: {"twins": first(z_oa, params[name]["twins"])} for name in _CRITICS if name in params}
    return {"ofenet": ofenet, "actor": first(z_o, params["actor"]), **critics}


def add(params: Tree, shift: Tree) -> Tree:
    """Returns arrays of which those that `shift` names have been shifted by it."""
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


def _behind(substitutes: tuple[Substitute, ...], params: Tree) -> Tree:
    names = [f"hidden_{k + 1}" for k in range(1, len(params) - 1)] + ["head"]
    return {name: _linear(own, params[name]) for name, own in zip(names, substitutes, strict=True)}


def _masks(shape: Shape, stays: Units) -> tuple[Array, Array]:
    z_o, _, z_oa = gates.of_features(shape, gates.complete(shape, stays))
    return z_o, z_oa


def _features(outputs: Units, batch: Transition) -> tuple[Array, Array]:
    z_o, _, z_oa = gates.in_order_of_features(batch.observation, batch.action, outputs["ofenet"])
    return jnp.concatenate(z_o, axis=-1), jnp.concatenate(z_oa, axis=-1)


def _densenet(inputs: Substitute, blocks: tuple[Substitute, ...], layers: Tree) -> tuple[Tree, Tree]:
    """Returns the shifts of a branch's kernels, and of its running means.

    The constant part of substitutes would be a bias of the blocks. They have none: the running means, which still hold
    what pruned units contributed, are lowered by as much.
    """
    shift = {"input": _linear(inputs, layers["input"])}
    constant = shift["input"].pop("bias")
    for k, block in enumerate(blocks):
        if f"block_{k + 1}" in layers:  # maps to all later blocks
            shift[f"block_{k + 1}"] = later = _linear(block, layers[f"block_{k + 1}"])
            bias = later.pop("bias")
            constant += jnp.pad(bias, (constant.size - bias.size, 0))
    ends = np.cumsum([block.constant.size for block in blocks])
    means = jnp.split(-constant, ends[:-1])
    return shift, {f"norm_{k + 1}": {"mean": mean} for k, mean in enumerate(means) if mean.size}
