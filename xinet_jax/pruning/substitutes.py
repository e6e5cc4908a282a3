"""Substitutes for pruned units: an affine map of the units that stay predicts what is lost (method, section 4).

The map moves into the weights and biases of the layers that read the pruned units, so it costs nothing afterwards.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.networks import layout
from xinet_jax.networks.layout import Group, Path
from xinet_jax.networks.modules import Features, Networks, OFENet, Shape
from xinet_jax.types import Transition, Tree, Units

# Ridge, as a share of each unit's variance: a few minibatches estimate a layer's covariances poorly.
RIDGE = 0.03
# Smallest standard deviation by which a unit is scaled, as a share of the layer's root mean square. Without it, a unit
# that is almost always zero could get a large weight, and disturb the outputs whenever it is not.
_SMALLEST_SCALE = 0.1
_ITERATIONS = 20  # of conjugate gradients; with the ridge, the error left is a few percent of the map
_LARGEST = 1e15  # values above are rejected: products with weights must stay within float32
_CRITICS = ("critic", "target_critic")


class Substitute(NamedTuple):
    """An affine map that predicts what is missing of a layer's outputs: `constant + outputs @ mix`.

    Attributes:
      constant: one value for each unit, `[*twins, units]`.
      mix: weights of the outputs (rows) in the prediction for each unit (columns), `[*twins, units, units]`.
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

    First, within every layer, the units that stay predict those that are lost. Then, for the layers that read OFENet's
    features, everything that is left of the features (with observation and action) predicts what is still missing.

    Args:
      networks: the modules.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be changed.
      statistics: OFENet's running averages.
      units: the gates at which the networks are read; target critics are read at those of the critics.
      stays, lost: masks, of the networks that lose units: 1.0 for units that stay, and for units that are lost now.
        Both are 0.0 for units that were pruned earlier.
      batch: transitions from which the maps are learnt, `[batch, ...]`.
      ridge: as a share of each unit's variance. With a large one, units are replaced by little but their means.

    Returns:
      The new parameters and running averages.
    """
    shape = networks.shape
    before = outputs(networks, params, statistics, units, batch)
    params, statistics = read_by_layers(shape, params, statistics, substitutes(before, stays, lost, ridge))
    if "ofenet" not in lost:
        return params, statistics
    left = units | {"ofenet": jax.tree.map(jnp.multiply, units["ofenet"], stays["ofenet"])}
    after = outputs(networks, params, statistics, left, batch)
    missing = {}
    for features in layout.features(shape):
        mask = jnp.concatenate([jnp.asarray(layout.value_of(group, stays)) for group in features])
        then, now = (_features(features, values, batch) for values in (before, after))
        missing[features] = substitute(now, mask, then - now, ridge)
    return read_by_features(shape, params, missing), statistics


def outputs(networks: Networks, params: dict[str, Tree], statistics: Tree, units: Units, batch: Transition) -> Units:
    """Returns the output of each hidden unit behind its gate: `[*twins, batch, units]` for each layer.

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
    """Returns the affine map of a layer's outputs that predicts what is missing of them, by ridge regression.

    If anything is not finite, the map is zero.

    Args:
      output: outputs of a layer.
      stays: 1.0 for units that may predict, else 0.0.
      missing: what is missing of each unit's output.
      ridge: as a share of each unit's variance.
    """
    mean, missing_mean = output.mean(axis=0), missing.mean(axis=0)
    variance = jnp.square(output - mean).mean(axis=0)
    typical = (stays * variance).sum() / jnp.maximum(stays.sum(), 1.0)
    scale = jnp.sqrt(jnp.maximum(variance, _SMALLEST_SCALE**2 * typical) + 1e-8)
    deviation = (output - mean) / scale
    correlation = deviation.T @ deviation / output.shape[0]
    # Columns of equal size, so that the iterations converge equally well for all.
    size = jnp.sqrt(jnp.square(missing - missing_mean).mean(axis=0) + 1e-8)
    covariance = stays[:, None] * (deviation.T @ ((missing - missing_mean) / size)) / output.shape[0]

    def system(mix: Array) -> Array:
        return stays[:, None] * (correlation @ mix) + ridge * mix

    # By products alone: LAPACK's Cholesky decomposition hangs inside a loop on CPU devices of one thread.
    mix, _ = jax.scipy.sparse.linalg.cg(system, covariance, tol=1e-3, maxiter=_ITERATIONS)
    mix *= size / scale[:, None]
    constant = missing_mean - mean @ mix
    valid = (jnp.abs(constant) < _LARGEST).all() & (jnp.abs(mix) < _LARGEST).all()  # false for NaN
    return Substitute(jnp.where(valid, constant, 0.0), jnp.where(valid, mix, 0.0))


def substitutes(outputs: Units, stays: Units, lost: Units, ridge: float = RIDGE) -> Units:
    """Returns a `Substitute` for each layer of the networks that `lost` names. Target critics lose what critics do.

    Args:
      outputs: every layer's outputs, with those of the target critics or without.
      stays, lost: masks: 1.0 for units that stay, and for units that are lost now.
      ridge: as a share of each unit's variance.
    """
    if "critic" in lost and "target_critic" in outputs:
        stays, lost = ({**units, "target_critic": units["critic"]} for units in (stays, lost))
    result = {}
    for networks in (("ofenet",), ("actor", *_CRITICS)):
        trees = ({name: units[name] for name in networks if name in lost} for units in (outputs, stays, lost))
        result |= _by_one_loop(*trees, ridge)
    return result


def _by_one_loop(outputs: Units, stays: Units, lost: Units, ridge: float) -> Units:
    """Computes the substitutes of several layers in one loop, padded to the widest.

    Unrolled, they would take as long to compile as the rest of an update.
    """
    layers, structure = jax.tree.flatten(outputs)
    if not layers:
        return outputs
    width = max(layer.shape[-1] for layer in layers)

    def stack(units: Units, rank: int) -> Array:
        def rows(leaf: Array) -> Array:
            wide = jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, width - leaf.shape[-1])])
            return wide if wide.ndim > rank else wide[None]  # each twin is a row

        return jnp.concatenate([rows(leaf) for leaf in jax.tree.leaves(units)])

    stacks = (stack(outputs, 2), stack(stays, 1), stack(lost, 1))
    stacked = jax.lax.map(lambda row: substitute(row[0], row[1], row[0] * row[2], ridge), stacks)
    result, end = [], 0
    for *twins, _, units in (layer.shape for layer in layers):
        rows = slice(end, end := end + math.prod(twins))
        constant, mix = stacked.constant[rows, :units], stacked.mix[rows, :units, :units]
        result.append(Substitute(constant.reshape(*twins, units), mix.reshape(*twins, units, units)))
    return jax.tree.unflatten(structure, result)


def read_by_layers(
    shape: Shape, params: dict[str, Tree], statistics: dict[str, Tree], substitutes: Units
) -> tuple[dict[str, Tree], dict[str, Tree]]:
    """Returns parameters and statistics with which layers read the substitutes of the hidden layers before them.

    These are OFENet's branches, and the heads but for their first layers: for layers that read OFENet's features see
    `read_by_features`. OFENet's blocks have no biases that could take the constant part of substitutes. Instead, it is
    subtracted from the running means of their normalisations, which still include what pruned units contributed.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be changed.
      statistics: OFENet's running averages.
      substitutes: a `Substitute` for each hidden layer; networks that are absent lose nothing.
    """
    arrays, averages, layers = layout.flat(params), layout.flat(statistics), layout.stored(shape)
    means = {layer.outputs: (*layer.path[1:], "mean") for layer in layers if layer.averages}
    for layer in layers:
        if layer.reads_features or layer.network not in substitutes or not any(group.place for group in layer.inputs):
            continue
        for root in _copies(layer.network, params):
            inputs = _side_by_side([_of_group(group, substitutes, root) for group in layer.inputs])
            constant = _read(arrays, (root, *layer.path[1:]), inputs)
            if not layer.vectors:
                for group, part in zip(layer.outputs, _split(constant, layer.outputs), strict=True):
                    if group.size:
                        averages[means[(group,)]] -= part
    return layout.nested(arrays, params), layout.nested(averages)


def read_by_features(
    shape: Shape, params: dict[str, Tree], substitutes: dict[tuple[Group, ...], Substitute]
) -> dict[str, Tree]:
    """Returns parameters with which the layers that read OFENet's features read the substitutes of features.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", "target_critic"}`, the last if it is to be changed.
      substitutes: a `Substitute` for z_o and one for z_oa.
    """
    arrays = layout.flat(params)
    for layer in layout.stored(shape):
        if layer.reads_features:
            for root in _copies(layer.network, params):
                _read(arrays, (root, *layer.path[1:]), substitutes[layer.inputs])
    return layout.nested(arrays, params)


def _copies(network: str, params: dict[str, Tree]) -> tuple[str, ...]:
    """Returns the names under which parameters of a network's structure stand in `params`."""
    return tuple(name for name in (_CRITICS if network == "critic" else (network,)) if name in params)


def _of_group(group: Group, substitutes: Units, root: str) -> Substitute:
    """Returns the substitute of a hidden layer; zero for an input of the networks, which is never pruned."""
    if not group.place:
        return Substitute(jnp.zeros(group.size), jnp.zeros((group.size, group.size)))
    return layout.value_of(group, substitutes | {group.network: substitutes[root]})


def _side_by_side(layers: list[Substitute]) -> Substitute:
    if len(layers) == 1:
        return layers[0]
    constants, mixes = zip(*layers, strict=True)
    return Substitute(jnp.concatenate(constants), jax.scipy.linalg.block_diag(*mixes))


def _read(arrays: dict[Path, Array], path: Path, inputs: Substitute) -> Array:
    """Changes a layer, in place, so that it reads a substitute of its inputs. Returns the constant that it adds."""
    kernel = arrays[(*path, "kernel")]
    constant = jnp.einsum("...i,...iu->...u", inputs.constant, kernel)
    arrays[(*path, "kernel")] = kernel + inputs.mix @ kernel
    if (*path, "bias") in arrays:
        arrays[(*path, "bias")] += constant
    return constant


def _split(values: Array, groups: tuple[Group, ...]) -> list[Array]:
    return jnp.split(values, np.cumsum([group.size for group in groups])[:-1], axis=-1)


def _features(features: tuple[Group, ...], outputs: Units, batch: Transition) -> Float[Array, "batch features"]:
    inputs = {"observation": batch.observation, "action": batch.action}
    values = [layout.value_of(group, outputs) if group.place else inputs[group.name] for group in features]
    return jnp.concatenate(values, axis=-1)
