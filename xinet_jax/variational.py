"""The step of theta: which gates it draws, what it learns from them, and what it pays (method, sections 3 and 4)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xinet_jax import complexity, gates, pruners
from xinet_jax.arrays import Key
from xinet_jax.gates import Units
from xinet_jax.networks import Gate
from xinet_jax.state import Agent, AgentState, Hyper

Tree = Any

_BISECTIONS = 24  # down to what tells float32 numbers in [0, 1] apart
_TIES = 1e-3  # differences of theta that do not matter when gates are rounded
_ROUNDING = 1e-6  # of shares of parameters


def step(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    losses_at: Callable[[Units], Tree],
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> tuple[Units, Float[Array, ""]]:
    """Takes a step of theta.

    Args:
      agent, hyper, state: the agent.
      losses_at: every network's loss at given gates, in nats.
      key: random key for the gates.
      environment_steps: steps taken so far.

    Returns:
      The new theta, and how many units stayed where they were since their gradient was not finite.
    """
    rules = agent.pruning
    expected, price = jax.value_and_grad(lambda theta: share(agent, theta))(state.theta)
    charged = hyper.nu * (expected > rules.keep_share)
    gradient = loss_gradient(agent, hyper, state, losses_at, key, environment_steps)
    for name in agent.gated:
        age = environment_steps - rules.start(name)
        nu = charged * hyper.nu_scale[name] * rules.progress(age)
        rise = lambda g, p, nu=nu, age=age: jnp.where(age < 0, 0.0, g + nu * p)  # noqa: E731
        gradient[name] = jax.tree.map(rise, gradient[name], price[name])
    theta = gates.descend(state.theta, gradient, hyper.theta_learning_rate * rules.theta_every)
    held = jax.tree.map(lambda g, a: jnp.sum(a * ~jnp.isfinite(g)), gradient, state.alive)
    # Pruned units stay so; the others can be told from them until they are pruned in their turn.
    theta = jax.tree.map(lambda t, a: a * jnp.maximum(t, rules.theta_min), theta, state.alive)
    return theta, sum(jax.tree.leaves(held), start=jnp.zeros(()))


def share(agent: Agent, units: Units) -> Float[Array, ""]:
    """Returns `C`, the (expected) cost of an agent's networks as a share of the dense ones', by what is counted."""
    return complexity.share(agent.dense, agent.networks.shape, units, agent.pruning.cost)


def rounded(agent: Agent, theta: Units, alive: Units) -> Units:
    """Returns the alive masks when every gate is rounded: those of highest theta stay, and cost what was expected.

    As many as fit into `C(theta)`, and into `keep_share` if there is one (method, section 4). Of units that are equally
    good, as useful ones are at a theta of 1, every layer loses the same fraction.
    """
    bound = share(agent, theta) + _ROUNDING
    if agent.pruning.keep_share:
        bound = jnp.minimum(bound, agent.pruning.keep_share)
    order = lambda t, a: (t + _TIES * (1.0 - pruners.rank(t, a) / t.shape[-1])) / (1.0 + _TIES)  # noqa: E731
    value = jax.tree.map(order, theta, alive)

    above = lambda threshold: gates.prune(value, alive, threshold)[1]  # noqa: E731
    # Values lie above 0 and up to 1: a threshold of 1 leaves only what layers must keep.
    threshold = pruners.bisect(lambda threshold: share(agent, above(threshold)) <= bound, 1.0, 0.0, _BISECTIONS)
    return jax.lax.cond(share(agent, alive) <= bound, lambda: alive, lambda: above(threshold))


def loss_gradient(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    losses_at: Callable[[Units], Tree],
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> Units:
    """Estimates what each gate is worth: the derivative of the expected losses by its probability, in nats.

    Args:
      agent, hyper, state: the agent.
      losses_at: every network's loss at given gates, in nats.
      key: random key for the gates.
      environment_steps: steps taken so far; no unit is left out of networks whose pruning has not started.
    """
    rules = agent.pruning
    probability, strength, floor = state.theta, state.theta, hyper.estimator_floor
    if rules.weights_see == "open":
        strength = state.alive
        floor = jnp.minimum(floor, rules.leave_out)  # probabilities are what they were set to: none comes near 0
        kept = {n: jnp.where(environment_steps < rules.start(n), 1.0, 1.0 - rules.leave_out) for n in agent.gated}
        probability = {n: jax.tree.map(lambda m, n=n: jnp.full_like(m, kept[n]), state.alive[n]) for n in agent.gated}

    def losses_with(xi: Units) -> Tree:
        if rules.weights_see == "sampled":
            return losses_at(xi)
        # An open gate leaves its unit what it contributes now. A closed one takes just that away and, as pruning does,
        # leaves its mean behind.
        return losses_at(jax.tree.map(lambda x, s: Gate(x * s, (1.0 - x) * s), xi, strength))

    u = gates.uniform(key, agent.dense, state.origin)
    if rules.estimator == "disarm":
        xi, opposite = gates.sample_antithetic(u, probability)
        difference = jax.tree.map(jnp.subtract, losses_with(xi), losses_with(opposite))
        return gates.disarm(who_pays(agent, difference), xi, opposite, probability, floor)
    xi = gates.sample(u, probability)
    gate_gradient = jax.grad(lambda units: _total(losses_with(units)))(xi)
    return gates.estimate(rules.estimator, gate_gradient, xi, probability, floor)


def _total(loss: Tree) -> Array:
    """Returns the sum of all losses. By a gate it has the gradient of those that read the gate, as in `who_pays`."""
    return sum((jnp.sum(own) for own in jax.tree.leaves(loss)), start=jnp.zeros(()))


def who_pays(agent: Agent, loss: Tree) -> dict[str, Array]:
    """Returns the loss that each network's gates answer to: `[]`, and `[2]` for the critics' (method, section 3)."""
    ofenet = loss["ofenet"] + loss["critic"].sum() + (loss["actor"] if agent.pruning.actor_speaks else 0.0)
    return {"ofenet": ofenet, "actor": loss["actor"], "critic": loss["critic"]}
