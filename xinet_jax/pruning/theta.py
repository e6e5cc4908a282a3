"""The step of theta: which gates it draws, what it learns from them, and what it pays (method, sections 3 and 4)."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xinet_jax.config.schema import PruningConfig
from xinet_jax.networks import complexity
from xinet_jax.networks.modules import Gate, Shape
from xinet_jax.pruning import estimators, gates, schedules
from xinet_jax.types import Key, Scalar, Units

_BISECTIONS = 24  # down to what tells float32 numbers in [0, 1] apart
_TIES = 1e-3  # differences of theta that do not matter when gates are rounded
_ROUNDING = 1e-6  # of shares of parameters


@runtime_checkable
class Losses(Protocol):
    """Every network's loss in nats: a tree with these fields, of the critics one loss each."""

    ofenet: Float[Array, ""]
    critic: Float[Array, "2"]
    actor: Float[Array, ""]


def step(
    rules: PruningConfig,
    dense: Shape,
    shape: Shape,
    theta: Units,
    alive: Units,
    gradient: Units,
    nu: dict[str, Scalar],
    rate: Scalar,
    environment_steps: Int[Array, ""] | int,
) -> tuple[Units, Float[Array, ""]]:
    """Takes a step of theta against the gradient of the expected losses plus the price of the expected cost.

    Args:
      rules: the rules of pruning.
      dense, shape: the sizes before pruning, and of the arrays.
      theta, alive: probabilities, and 1.0 for units not pruned so far.
      gradient: of the expected losses by theta, from `loss_gradient` [nats].
      nu: the price of the whole dense agent, per gated network [nats].
      rate: step size.
      environment_steps: steps taken so far.

    Returns:
      The new theta, and how many units stayed where they were since their gradient was not finite.
    """
    expected, price = jax.value_and_grad(lambda theta: complexity.share(dense, shape, theta, rules.cost))(theta)
    charged = expected > rules.keep_share

    def total(name: str) -> Any:
        age = environment_steps - rules.start(name)
        due = charged * nu[name] * schedules.progress(rules, age)
        return jax.tree.map(lambda g, p: jnp.where(age < 0, 0.0, g + due * p), gradient[name], price[name])

    gradient = {name: total(name) for name in theta}
    held = jax.tree.map(lambda g, a: jnp.sum(a * ~jnp.isfinite(g)), gradient, alive)
    moved = gates.descend(theta, gradient, rate)
    # Units that are pruned stay so. The others are kept apart from them until they are pruned.
    moved = jax.tree.map(lambda t, a: a * jnp.maximum(t, rules.theta_min), moved, alive)
    return moved, sum(jax.tree.leaves(held), start=jnp.zeros(()))


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
    """Estimates the derivative of the expected losses by each gate's probability: what the gate is worth [nats].

    Args:
      rules: the rules of pruning.
      dense: the sizes before pruning.
      theta, alive, origin: probabilities, units not pruned so far, and every unit's index before pruning.
      losses_at: every network's loss at some gates, in nats.
      floor: smallest denominator of the estimator.
      key: random key for the gates.
      environment_steps: steps taken so far; no unit is left out of networks whose pruning has not started.
    """
    probability, strength = theta, theta
    if rules.weights_see == "open":
        strength = alive
        floor = jnp.minimum(floor, rules.leave_out)  # probabilities are what they were set to: none comes near 0
        kept = {n: jnp.where(environment_steps < rules.start(n), 1.0, 1.0 - rules.leave_out) for n in theta}
        probability = {n: jax.tree.map(lambda m, n=n: jnp.full_like(m, kept[n]), alive[n]) for n in theta}

    def losses_with(xi: Units) -> Losses:
        if rules.weights_see == "sampled":
            return losses_at(xi)
        # An open gate leaves its unit what it contributes now. A closed one takes just that away and, as pruning does,
        # leaves its mean behind.
        return losses_at(jax.tree.map(lambda x, s: Gate(x * s, (1.0 - x) * s), xi, strength))

    u = gates.uniform(key, dense, origin)
    if rules.estimator == "disarm":
        xi, opposite = gates.sample_antithetic(u, probability)
        difference = jax.tree.map(jnp.subtract, losses_with(xi), losses_with(opposite))
        return estimators.disarm(answered_loss(rules, difference), xi, opposite, probability, floor)
    xi = gates.sample(u, probability)
    gate_gradient = jax.grad(lambda units: _total(losses_with(units)))(xi)
    return estimators.estimate(rules.estimator, gate_gradient, xi, probability, floor)


def answered_loss(rules: PruningConfig, losses: Losses) -> dict[str, Array]:
    """Returns the loss that each network's gates answer to: `[]`, and `[2]` for the critics' (method, section 3)."""
    ofenet = losses.ofenet + losses.critic.sum() + (losses.actor if rules.actor_speaks else 0.0)
    return {"ofenet": ofenet, "actor": losses.actor, "critic": losses.critic}


def rounded(rules: PruningConfig, dense: Shape, shape: Shape, theta: Units, alive: Units) -> Units:
    """Returns the alive masks when every gate is rounded: those of highest theta stay, and cost what was expected.

    As many as fit into `C(theta)`, and into `keep_share` if there is one (method, section 4). Of units that are equally
    good, as useful ones are at a theta of 1, every layer loses the same fraction.

    Args:
      rules: the rules of pruning.
      dense, shape: the sizes before pruning, and of the arrays.
      theta, alive: probabilities, and 1.0 for units not pruned so far.
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

    # Values lie above 0 and up to 1: a threshold of 1 leaves only what layers must keep.
    threshold = schedules.bisect(lambda threshold: cost(above(threshold)) <= bound, 1.0, 0.0, _BISECTIONS)
    return jax.lax.cond(cost(alive) <= bound, lambda: alive, lambda: above(threshold))


def _total(losses: Losses) -> Array:
    """Returns the sum of all losses. Its gradient by a gate is that of `answered_loss`, as no other loss reads it."""
    return sum((jnp.sum(loss) for loss in jax.tree.leaves(losses)), start=jnp.zeros(()))
