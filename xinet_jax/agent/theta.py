"""The step of an agent's theta."""

from collections.abc import Callable

from jaxtyping import Array, Float, Int

from xinet_jax.agent.state import Agent, AgentState, Hyper
from xinet_jax.pruning import theta
from xinet_jax.pruning.theta import Losses
from xinet_jax.types import Key, Units


def step(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    losses_at: Callable[[Units], Losses],
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> tuple[Units, Float[Array, ""]]:
    """Takes a step of theta (`xinet_jax.pruning.theta.step`).

    Args:
      agent, hyper, state: the agent.
      losses_at: every network's loss at some gates, in nats.
      key: random key for the gates.
      environment_steps: steps taken so far.

    Returns:
      The new theta, and how many units stayed where they were since their gradient was not finite.
    """
    rules, shape = agent.pruning, agent.networks.shape
    gradient = loss_gradient(agent, hyper, state, losses_at, key, environment_steps)
    nu = {name: hyper.nu * getattr(hyper, f"nu_scale_{name}") for name in agent.gated}
    rate = hyper.theta_learning_rate * rules.theta_every
    return theta.step(rules, agent.dense, shape, state.theta, state.alive, gradient, nu, rate, environment_steps)


def loss_gradient(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    losses_at: Callable[[Units], Losses],
    key: Key,
    environment_steps: Int[Array, ""] | int,
) -> Units:
    """Estimates what each gate is worth (`xinet_jax.pruning.theta.loss_gradient`). Arguments as those of `step`."""
    floor = hyper.estimator_floor
    gates = (state.theta, state.alive, state.origin)
    return theta.loss_gradient(agent.pruning, agent.dense, *gates, losses_at, floor, key, environment_steps)
