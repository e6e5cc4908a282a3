"""Estimators of the gradient of a gate's probability, from losses at sampled gates (method, section 3)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.types import Scalar, Units


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
# Those of `xinet_jax.config.names.ESTIMATORS` that weigh the loss's gradient at one sample. "disarm" needs the losses
# at two, and no gradient; "fisher" the outputs with all gates open (`xinet_jax.agent.worth`).
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
