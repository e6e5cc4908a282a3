"""The step of theta: which gates it draws, what it learns from them, and what it pays (method, sections 3 and 4)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from xinet_jax import complexity, gates
from xinet_jax.arrays import Key
from xinet_jax.gates import Units
from xinet_jax.state import Agent, AgentState, Hyper

Tree = Any


def step(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    losses_at: Callable[[Units], Tree],
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> tuple[Units, Units]:
    """Takes a step of theta and prunes what has come to its end.

    Args:
      agent, hyper, state: the agent.
      losses_at: every network's loss at given gates, in nats.
      key: random key for the gates.
      environment_steps: steps taken so far.

    Returns:
      theta, and the alive masks.
    """
    rules = agent.pruning
    price = jax.grad(lambda theta: complexity.share(agent.dense, agent.networks.shape, theta, rules.cost))(state.theta)
    gradient = loss_gradient(agent, state, losses_at, key)
    for name in agent.gated:
        age = environment_steps - rules.start(name)
        nu = hyper.nu * hyper.nu_scale[name] * rules.progress(age)
        rise = lambda g, p, nu=nu, age=age: jnp.where(age < 0, 0.0, g + nu * p)  # noqa: E731
        gradient[name] = jax.tree.map(rise, gradient[name], price[name])
    theta = gates.descend(state.theta, gradient, hyper.theta_learning_rate * rules.theta_every)
    return gates.prune(theta, state.alive, rules.theta_min)


def loss_gradient(agent: Agent, state: AgentState, losses_at: Callable[[Units], Tree], key: Key) -> Units:
    """Estimates what each gate is worth: the derivative of the expected losses by its probability, in nats."""
    rules = agent.pruning
    u = gates.uniform(key, agent.dense, state.origin)
    probability = state.theta
    if rules.weights_see == "open":
        probability = jax.tree.map(lambda t: jnp.full_like(t, 1.0 - rules.leave_out), state.theta)

    def losses_with(xi: Units) -> Tree:
        return losses_at(jax.tree.map(jnp.multiply, xi, _strength(agent, state)))

    if rules.estimator == "disarm":
        xi, opposite = gates.sample_antithetic(u, probability)
        difference = jax.tree.map(jnp.subtract, losses_with(xi), losses_with(opposite))
        return gates.disarm(_who_pays(agent, difference), xi, opposite, probability, rules.estimator_floor)
    xi = gates.sample(u, probability)
    gate_gradient = jax.grad(lambda units: _total(losses_with(units)))(xi)
    return gates.estimate(rules.estimator, gate_gradient, xi, probability, rules.estimator_floor)


def _strength(agent: Agent, state: AgentState) -> Units:
    """Returns what an open gate leaves its unit, so that closing it takes away what the unit contributes now."""
    rules = agent.pruning
    if rules.weights_see == "sampled":
        return jax.tree.map(jnp.ones_like, state.theta)
    if rules.weights_see == "mean":
        return state.theta
    return jax.tree.map(lambda mask: mask / (1.0 - rules.leave_out), state.alive)  # so that sums keep their mean


def _total(loss: Tree) -> Array:
    """Returns the sum of all losses. Their gradients do not mix: each reads as constants what others learn."""
    return sum((jnp.sum(own) for own in jax.tree.leaves(loss)), start=jnp.zeros(()))


def _who_pays(agent: Agent, loss: Tree) -> dict[str, Array]:
    """Returns the loss that each network's gates answer to: `[]`, and `[2]` for the critics' (method, section 3)."""
    ofenet = loss["ofenet"] + loss["critic"].sum() + (loss["actor"] if agent.pruning.actor_speaks else 0.0)
    return {"ofenet": ofenet, "actor": loss["actor"], "critic": loss["critic"]}
