"""Bernoulli gates: sample them, estimate the gradient of their probabilities, project, prune.

`Units` is a tree with one array per gated hidden layer: `{"ofenet": {"state": (...), "action": (...)}, "actor": (...),
"critic": (...)}`, arrays `[width]`, the critics' `[2, width]`. Networks without gates are absent from it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.arrays import Key, Scalar
from xinet_jax.networks import Shape

Units = dict[str, Any]
T = TypeVar("T")


def ones(shape: Shape, networks: tuple[str, ...] = ("ofenet", "actor", "critic")) -> Units:
    """Returns the units of some networks, each with the value one."""
    return jax.tree.map(jnp.asarray, _constants(shape, networks))


def _constants(shape: Shape, networks: tuple[str, ...] = ("ofenet", "actor", "critic"), value: float = 1.0) -> Units:
    """Returns units with the same value, as arrays on the host."""

    def layers(widths: tuple[int, ...], *leading: int) -> tuple[np.ndarray, ...]:
        return tuple(np.full((*leading, width), value, np.float32) for width in widths)

    units = {
        "ofenet": {"state": layers(shape.state_blocks), "action": layers(shape.action_blocks)},
        "actor": layers(shape.actor_hidden),
        "critic": layers(shape.critic_hidden, 2),
    }
    return {name: units[name] for name in networks}


def complete(shape: Shape, units: Units, other: float = 1.0) -> Units:
    """Returns `units` with `other`, as numpy arrays, for the networks that carry no gates."""
    return _constants(shape, value=other) | units


def of_features(shape: Shape, units: Units, other: float = 1.0) -> tuple[Array, Array, Array]:
    """Returns a value for every entry of z_o, of [z_o, a] and of z_oa: its unit's, or `other`."""
    observation, action = jnp.full(shape.observation, other), jnp.full(shape.action, other)
    z_o, z_o_action, z_oa = map(jnp.concatenate, in_order_of_features(observation, action, units["ofenet"]))
    return z_o, z_o_action, z_oa


def in_order_of_features(observation: T, action: T, blocks: dict[str, tuple[T, ...]]) -> tuple[tuple[T, ...], ...]:
    """Returns what z_o, [z_o, a] and z_oa are made of, in order: observation, state blocks, action, action blocks."""
    z_o = (observation, *blocks["state"])
    return z_o, (*z_o, action), (*z_o, action, *blocks["action"])


def original(shape: Shape, networks: tuple[str, ...]) -> Units:
    """Returns the units of some networks, each with its own index within its layer."""
    return jax.tree.map(lambda unit: jnp.broadcast_to(jnp.arange(unit.shape[-1]), unit.shape), ones(shape, networks))


def uniform(key: Key, dense: Shape, origin: Units) -> Units:
    """Draws one uniform number in [0, 1) per unit, the same for a unit whatever else was taken out of the arrays.

    Args:
      key: random key.
      dense: the sizes before pruning, for which the numbers are drawn.
      origin: every unit's index within its layer before pruning.
    """
    leaves, structure = jax.tree.flatten(origin)
    widths = jax.tree.leaves(ones(dense, tuple(origin)))
    keys = jax.random.split(key, max(len(leaves), 1))
    draws = [
        jnp.take_along_axis(jax.random.uniform(k, full.shape), index, axis=-1)
        for k, full, index in zip(keys, widths, leaves, strict=False)
    ]
    return jax.tree.unflatten(structure, draws)


def sample(u: Units, theta: Units) -> Units:
    """Returns `xi ~ Bernoulli(theta)`, 0.0 or 1.0, from uniform numbers, one per unit."""
    return jax.tree.map(lambda x, t: (x < t).astype(t.dtype), u, theta)


def sample_antithetic(u: Units, theta: Units) -> tuple[Units, Units]:
    """Returns a pair of samples, each Bernoulli(theta), that differ as often as two such samples can."""
    return sample(u, theta), sample(jax.tree.map(lambda x: 1.0 - x, u), theta)


def straight_through(xi: Float[Array, "..."], theta: Float[Array, "..."], floor: Scalar) -> Float[Array, "..."]:
    """Returns the weight 1: `dE[l]/dtheta` as `dl/dxi`, exact for losses linear in each gate."""
    return jnp.ones_like(theta)


def heun(xi: Float[Array, "..."], theta: Float[Array, "..."], floor: Scalar) -> Float[Array, "..."]:
    """Returns the trapezoid rule's weight, half the inverse of the drawn value's probability, floored.

    In expectation `(l'(0) + l'(1)) / 2`, which is `l(1) - l(0)` for losses quadratic in each gate. The Bernoulli case
    of ReinMax (Liu et al. 2023, arXiv 2304.08612).
    """
    probability = jnp.where(xi > 0.5, theta, 1.0 - theta)
    return 0.5 / jnp.maximum(probability, floor)


def disarm(difference: dict[str, Array], xi: Units, opposite: Units, theta: Units, floor: Scalar) -> Units:
    """Estimates `dE[l]/dtheta` from losses at two antithetic samples (DisARM, Dong et al. 2020, arXiv 2006.10680).

    Unbiased for any loss, but for the floor: a unit's two gates differ with probability `2 min(theta, 1 - theta)`, and
    where they do the difference of the losses is divided by it. The paper's estimate is for logits; dividing by
    `dtheta/dlogit = theta (1 - theta)` gives this one.

    Args:
      difference: per network `l(xi) - l(opposite)` of the loss its gates answer to, `[]`, or `[2]` for twin critics.
      xi, opposite: the pair of samples.
      theta: probabilities.
      floor: smallest denominator.
    """

    def per_network(name: str) -> Any:
        def per_layer(x: Array, o: Array, t: Array) -> Array:
            return 0.5 * difference[name][..., None] * (x - o) / jnp.maximum(jnp.minimum(t, 1.0 - t), floor)

        return jax.tree.map(per_layer, xi[name], opposite[name], theta[name])

    return {name: per_network(name) for name in theta}


Estimator = Callable[[Array, Array, Scalar], Array]
# Those of `xinet_jax.names.ESTIMATORS` that weigh the loss's gradient at one sample. "disarm" needs the losses at two,
# and no gradient.
ESTIMATORS: dict[str, Estimator] = {"heun": heun, "straight_through": straight_through}


def estimate(estimator: str, gate_gradient: Units, xi: Units, theta: Units, floor: Scalar) -> Units:
    """Returns an estimate of `dE[l]/dtheta` from the loss's gradient with respect to the sampled gates.

    Args:
      estimator: a name in `ESTIMATORS`.
      gate_gradient: `dl/dxi` at the samples.
      xi, theta: samples and probabilities.
      floor: smallest denominator.
    """
    weight = ESTIMATORS[estimator]
    return jax.tree.map(lambda g, x, t: g * weight(x, t, floor), gate_gradient, xi, theta)


def descend(theta: Units, gradient: Units, rate: Float[Array, ""] | float) -> Units:
    """Takes a step of gradient descent, projected onto [0, 1] (method, section 4).

    Where the gradient is not finite theta stays: pruning is for good, and must not follow from one bad minibatch.
    """

    def step(t: Array, g: Array) -> Array:
        return jnp.where(jnp.isfinite(g), jnp.clip(t - rate * g, 0.0, 1.0), t)

    return jax.tree.map(step, theta, gradient)


def prune(theta: Units, alive: Units, theta_min: Scalar) -> tuple[Units, Units]:
    """Prunes, for good, units whose theta is at most `theta_min` (method, section 4).

    An OFENet layer may lose all its units, since the skip connections carry on without it. A layer of the actor or of a
    critic keeps its best unit, with theta at `theta_min` or above.

    Args:
      theta: probabilities.
      alive: 1.0 for units not pruned so far, else 0.0.
      theta_min: in (0, 1).

    Returns:
      theta, zero where pruned, and the new alive masks.
    """

    alive = {
        name: jax.tree.map(_survivors(theta_min, keep_one=name != "ofenet"), theta[name], alive[name]) for name in theta
    }
    # The floor only lifts a layer's last unit: every other survivor is above it already.
    theta = jax.tree.map(lambda t, a: a * jnp.maximum(t, theta_min), theta, alive)
    return theta, alive


def _survivors(theta_min: Scalar, keep_one: bool) -> Callable[[Array, Array], Array]:
    def survivors(
        theta: Float[Array, "*twins width"], alive: Float[Array, "*twins width"]
    ) -> Float[Array, "*twins width"]:
        theta = jnp.where(alive > 0.5, theta, -1.0)
        survives = theta > theta_min
        if keep_one:
            best = jax.nn.one_hot(jnp.argmax(theta, axis=-1), theta.shape[-1], dtype=bool)
            survives |= best & ~survives.any(axis=-1, keepdims=True)
        return survives.astype(alive.dtype)

    return survivors
