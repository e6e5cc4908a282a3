"""The step of theta: the gates that are drawn, the gradient they give, and the price (method, sections 3 and 4)."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xinet_jax.config.schema import PruningConfig
from xinet_jax.networks import complexity
from xinet_jax.networks.modules import Gate, Shape
from xinet_jax.pruning import estimators, gates, schedules
from xinet_jax.types import Key, Scalar, Units

_BISECTIONS = 24  # resolve float32 numbers in [0, 1]
_PRICE_EXPONENTS = (12.0, -6.0)  # of ten: prices that are enough for anything, and for nothing [nats]
_TIES = 1e-3  # differences of theta below this do not matter when gates are rounded
_ROUNDING = 1e-6  # rounding errors of shares of parameters


@runtime_checkable
class Losses(Protocol):
    """Every network's loss in nats, one for each critic."""

    ofenet: Float[Array, ""]
    critic: Float[Array, "2"]
    actor: Float[Array, ""]


class Figures(NamedTuple):
    """Figures of one step of theta.

    Attributes:
      price: of the whole dense agent, as charged, before the multipliers of the networks [nats]. If networks start
        at different times, that of the first.
      held: units that stayed where they were since their gradient was not finite.
    """

    price: Float[Array, "*members"]
    held: Float[Array, "*members"]


def step(
    rules: PruningConfig,
    dense: Shape,
    shape: Shape,
    theta: Units,
    alive: Units,
    gradient: Units,
    nu: Scalar,
    scales: dict[str, Scalar],
    rate: Scalar,
    environment_steps: Int[Array, ""] | int,
) -> tuple[Units, Figures]:
    """Takes a step of theta against the gradient of the expected losses plus the price of the expected cost.

    Args:
      rules: the rules of pruning.
      dense, shape: the sizes before pruning, and of the arrays.
      theta, alive: probabilities, and 1.0 for units not pruned so far.
      gradient: of the expected losses by theta, from `loss_gradient` [nats].
      nu: the price of the whole dense agent, where it is fixed [nats].
      scales: multipliers of the price, per gated network.
      rate: step size.
      environment_steps: steps taken so far.

    Returns:
      The new theta, and the step's figures.
    """

    def cost(theta: Units) -> Float[Array, ""]:
        return complexity.share(dense, shape, theta, rules.cost)

    expected, slope = jax.value_and_grad(cost)(theta)
    ages = {name: environment_steps - rules.start(name) for name in theta}
    progress = schedules.progress(rules, environment_steps - min(map(rules.start, theta)))  # of the first to start

    def moved(prices: dict[str, Scalar]) -> Units:
        def total(name: str) -> Any:
            return jax.tree.map(
                lambda g, s: jnp.where(ages[name] < 0, 0.0, g + prices[name] * s), gradient[name], slope[name]
            )

        after = gates.descend(theta, {name: total(name) for name in theta}, rate)
        # Units that are pruned stay so. The others are kept apart from them until they are pruned.
        return jax.tree.map(lambda t, a: a * jnp.maximum(t, rules.theta_min), after, alive)

    finite = {
        name: jax.tree.map(lambda g, a, n=name: (a == 0) | (ages[n] < 0) | jnp.isfinite(g), gradient[name], alive[name])
        for name in theta
    }
    held = sum((jnp.sum(~leaf) for leaf in jax.tree.leaves(finite)), start=jnp.zeros(()))
    if rules.price == "found":
        target = schedules.target_share(rules.keep_share, progress)

        def scaled(price: Scalar) -> dict[str, Scalar]:
            return {name: price * scales[name] for name in theta}

        price = _least_price(lambda price: cost(moved(scaled(price))) <= target)
        # Units that stay would have to be made up for by the others, because of one bad minibatch.
        price = jnp.where(held > 0, 0.0, price)
        prices = scaled(price)
    else:
        charged = expected > rules.keep_share
        price = charged * nu * progress
        prices = {n: charged * (nu * scales[n]) * schedules.progress(rules, ages[n]) for n in theta}
    return moved(prices), Figures(price, held)


def _least_price(is_enough: Callable[[Scalar], Bool[Array, ""]]) -> Float[Array, ""]:
    """Returns the least price that is enough [nats], to six digits; 0 if that is, or if none is."""
    exponent = schedules.bisect(lambda exponent: is_enough(10.0**exponent), *_PRICE_EXPONENTS, _BISECTIONS)
    needed = is_enough(10.0 ** jnp.float32(_PRICE_EXPONENTS[0])) & ~is_enough(jnp.zeros(()))
    return jnp.where(needed, 10.0**exponent, 0.0)


def loss_gradient(
    rules: PruningConfig,
    dense: Shape,
    theta: Units,
    alive: Units,
    origin: Units,
    losses_at: Callable[[Units], Losses],
    floor: Scalar,
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> Units:
    """Estimates the derivative of the expected losses by each gate's probability [nats].

    Args:
      rules: the rules of pruning.
      dense: the sizes before pruning.
      theta, alive, origin: probabilities, units not pruned so far, and every unit's index before pruning.
      losses_at: every network's loss at some gates, in nats.
      floor: smallest denominator of the estimator.
      key: random key for the gates.
      environment_steps: steps taken so far. In networks whose pruning has not started all gates are open.
    """
    probability, strength = theta, theta
    if rules.weights_see == "open":
        strength = alive
        floor = jnp.minimum(floor, rules.leave_out)  # probabilities are chosen, and none is near 0
        kept = {n: jnp.where(environment_steps < rules.start(n), 1.0, 1.0 - rules.leave_out) for n in theta}
        probability = {n: jax.tree.map(lambda m, n=n: jnp.full_like(m, kept[n]), alive[n]) for n in theta}

    def losses_with(xi: Units) -> Losses:
        if rules.weights_see == "sampled":
            return losses_at(xi)
        # An open gate leaves its unit's contribution as it is. A closed gate replaces it by its mean, as pruning does.
        return losses_at(jax.tree.map(lambda x, s: Gate(x * s, (1.0 - x) * s), xi, strength))

    u = gates.uniform(key, dense, origin)
    if rules.estimator == "disarm":
        xi, opposite = gates.sample_antithetic(u, probability)
        difference = jax.tree.map(jnp.subtract, losses_with(xi), losses_with(opposite))
        return estimators.disarm(minimised_loss(rules, difference), xi, opposite, probability, floor)
    xi = gates.sample(u, probability)
    gate_gradient = jax.grad(lambda units: _total(losses_with(units)))(xi)
    return estimators.estimate(rules.estimator, gate_gradient, xi, probability, floor)


def minimised_loss(rules: PruningConfig, losses: Losses) -> dict[str, Array]:
    """Returns the loss that each network's gates minimise: `[]`, and `[2]` for the critics' (method, section 3)."""
    ofenet = losses.ofenet + losses.critic.sum() + (losses.actor if rules.actor_speaks else 0.0)
    return {"ofenet": ofenet, "actor": losses.actor, "critic": losses.critic}


def reordered(gradient: Units, score: Units, alive: Units) -> Units:
    """Returns the same gradients, with those of each layer given to its units in another order.

    The unit of the highest score gets the gradient of the unit that is worth most, and so on. So the gradients say how
    many units a layer keeps, and the scores say which.

    Args:
      gradient: of the expected losses by theta [nats].
      score: the units' scores, compared within each layer.
      alive: 1.0 for units not pruned so far. Of the others the order does not matter.

    Examples:
      >>> gradient, score = {"actor": (jnp.array([-3.0, -1.0, -2.0]),)}, {"actor": (jnp.array([0.1, 0.2, 0.3]),)}
      >>> reordered(gradient, score, {"actor": (jnp.ones(3),)})["actor"][0].tolist()
      [-1.0, -2.0, -3.0]
    """

    def layer(gradient: Array, score: Array, alive: Array) -> Array:
        in_order = jnp.sort(jnp.where(alive > 0.5, gradient, jnp.inf), axis=-1)
        return jnp.take_along_axis(in_order, schedules.rank(score, alive), axis=-1)

    return jax.tree.map(layer, gradient, score, alive)


def rounded(rules: PruningConfig, dense: Shape, shape: Shape, theta: Units, alive: Units) -> Units:
    """Rounds every gate to 0 or 1: the units of highest theta stay, as many as fit into the expected cost.

    The bound is `C(theta)`, or `keep_share` if that is less (method, section 4). Among units of equal theta, such as
    useful ones at 1, every layer loses the same fraction.

    Args:
      rules: the rules of pruning.
      dense, shape: the sizes before pruning, and of the arrays.
      theta, alive: probabilities, and 1.0 for units not pruned so far.

    Returns:
      The new alive masks.
    """

    def cost(units: Units) -> Float[Array, ""]:
        return complexity.share(dense, shape, units, rules.cost)

    def order(theta: Array, alive: Array) -> Array:
        return (theta + _TIES * (1.0 - schedules.rank(theta, alive) / theta.shape[-1])) / (1.0 + _TIES)

    bound = cost(theta) + _ROUNDING
    if rules.keep_share:
        bound = jnp.minimum(bound, rules.keep_share)
    value = jax.tree.map(order, theta, alive)

    def above(threshold: Scalar) -> Units:
        return gates.prune(value, alive, threshold)[1]

    # Values are in (0, 1]: a threshold of 1 leaves only the units that layers must keep.
    threshold = schedules.bisect(lambda threshold: cost(above(threshold)) <= bound, 1.0, 0.0, _BISECTIONS)
    return jax.lax.cond(cost(alive) <= bound, lambda: alive, lambda: above(threshold))


def _total(losses: Losses) -> Array:
    """Returns the sum of all losses. Its gradient by a gate is that of `minimised_loss`, as no other loss reads it."""
    return sum((jnp.sum(loss) for loss in jax.tree.leaves(losses)), start=jnp.zeros(()))
