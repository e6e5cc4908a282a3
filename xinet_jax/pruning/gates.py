"""Bernoulli gates: samples, projected gradient descent, and pruning."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape
from xinet_jax.types import Key, Scalar, Units


def uniform(key: Key, dense: Shape, origin: Units) -> Units:
    """Draws one uniform number in [0, 1) per unit. A unit gets the same number before and after compaction.

    Args:
      key: random key.
      dense: the sizes before pruning, for which the numbers are drawn.
      origin: every unit's index within its layer before pruning.
    """
    leaves, structure = jax.tree.flatten(origin)
    widths = jax.tree.leaves(layout.ones(dense, tuple(origin)))
    keys = jax.random.split(key, max(len(leaves), 1))
    draws = [
        jnp.take_along_axis(jax.random.uniform(k, full.shape), index, axis=-1)
        for k, full, index in zip(keys, widths, leaves, strict=False)
    ]
    return jax.tree.unflatten(structure, draws)


def sample(u: Units, theta: Units) -> Units:
    """Returns `xi ~ Bernoulli(theta)`, 0.0 or 1.0, from uniform numbers, one per unit.

    Examples:
      >>> theta = {"actor": (jnp.array([0.9, 0.5, 0.1]),)}
      >>> sample({"actor": (jnp.array([0.3, 0.3, 0.3]),)}, theta)["actor"][0].tolist()
      [1.0, 1.0, 0.0]
    """
    return jax.tree.map(lambda x, t: (x < t).astype(t.dtype), u, theta)


def sample_antithetic(u: Units, theta: Units) -> tuple[Units, Units]:
    """Returns a pair of samples, each Bernoulli(theta), that differ as often as two such samples can."""
    return sample(u, theta), sample(jax.tree.map(lambda x: 1.0 - x, u), theta)


def descend(theta: Units, gradient: Units, rate: Float[Array, ""] | float) -> Units:
    """Takes a step of gradient descent, projected onto [0, 1] (method, section 4).

    Where the gradient is not finite theta stays: pruning is permanent, and must not follow from one bad minibatch.

    Examples:
      >>> theta, gradient = {"actor": (jnp.array([0.5, 0.5]),)}, {"actor": (jnp.array([2.0, jnp.nan]),)}
      >>> descend(theta, gradient, 0.5)["actor"][0].tolist()
      [0.0, 0.5]
    """

    def step(t: Array, g: Array) -> Array:
        return jnp.where(jnp.isfinite(g), jnp.clip(t - rate * g, 0.0, 1.0), t)

    return jax.tree.map(step, theta, gradient)


def prune(theta: Units, alive: Units, theta_min: Scalar) -> tuple[Units, Units]:
    """Prunes, permanently, units whose theta is at most `theta_min` (method, section 4).

    An OFENet layer may lose all its units, since its skip connections remain. A layer of the actor or of a critic keeps
    its best unit, with theta at `theta_min` or above.

    Args:
      theta: probabilities.
      alive: 1.0 for units not pruned so far, else 0.0.
      theta_min: in (0, 1).

    Returns:
      theta, zero where pruned, and the new alive masks.

    Examples:
      >>> theta, alive = {"actor": (jnp.array([0.5, 0.01]),)}, {"actor": (jnp.ones(2),)}
      >>> prune(theta, alive, 0.02)[1]["actor"][0].tolist()
      [1.0, 0.0]
    """

    alive = {
        name: jax.tree.map(_survivors(theta_min, keep_one=name != "ofenet"), theta[name], alive[name]) for name in theta
    }
    # The floor matters for a layer's last unit only: all other survivors are above it.
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
