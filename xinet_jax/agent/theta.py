"""The step of an agent's theta."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from xinet_jax.agent import losses
from xinet_jax.agent.losses import Losses
from xinet_jax.agent.optimiser import averages
from xinet_jax.agent.state import Agent, AgentState, Hyper
from xinet_jax.agent.worth import worth
from xinet_jax.pruning import schedules, theta
from xinet_jax.pruning.theta import Figures
from xinet_jax.types import Key, Transition, Units


def step(
    agent: Agent, hyper: Hyper, state: AgentState, gradient: Units, environment_steps: Int[Array, ""] | int
) -> tuple[Units, Figures]:
    """Takes a step of theta (`xinet_jax.pruning.theta.step`).

    Args:
      agent, hyper, state: the agent.
      gradient: of the expected losses by theta [nats].
      environment_steps: steps taken so far.

    Returns:
      The new theta, and the step's figures.
    """
    rules, shape = agent.pruning, agent.networks.shape
    scales = {name: getattr(hyper, f"nu_scale_{name}") for name in agent.gated}
    rate = hyper.theta_learning_rate * rules.theta_every
    gates = (state.theta, state.alive)
    return theta.step(rules, agent.dense, shape, *gates, gradient, hyper.nu, scales, rate, environment_steps)


def loss_gradient(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key, environment_steps: Int[Array, ""] | int
) -> Units:
    """Estimates the derivative of the expected losses by each gate's probability, from a minibatch [nats].

    Args:
      agent, hyper, state: the agent. It must have taken an update: errors are weighed by their moving averages.
      batch: transitions as the networks take them, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far.
    """
    if agent.pruning.estimator == "fisher":
        gradient = jax.tree.map(jnp.negative, worth(agent, state, batch, key))
    else:
        gradient = _from_losses(agent, hyper, state, batch, key, environment_steps)
    if agent.pruning.order == "worth":
        return gradient
    shape = agent.networks.shape
    score = schedules.PRUNERS[agent.pruning.order](shape, state.params, state.alive, agent.dense, state.origin, key)
    return theta.reordered(gradient, score, state.alive)


def _from_losses(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key, environment_steps: Int[Array, ""] | int
) -> Units:
    """Estimates the same from losses at sampled gates (`xinet_jax.pruning.theta.loss_gradient`)."""
    key_gates, key_next, key_action = jax.random.split(key, 3)
    targets = losses.make_targets(agent, hyper, state, batch, key_next)
    means, alpha = averages(state.mse_bars), jnp.exp(state.params["temperature"])

    def losses_at(units: Units) -> Losses:
        every, _ = losses.compute_losses(agent, hyper, state, state.params, units, batch, targets, key_action)
        return losses.in_nats(every, agent.networks.shape.predicted, means["ofenet"], means["critic"], alpha)

    gates, floor = (state.theta, state.alive, state.origin), hyper.estimator_floor
    return theta.loss_gradient(agent.pruning, agent.dense, *gates, losses_at, floor, key_gates, environment_steps)
