"""One update of an agent: the method on a page (docs: method)."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from xinet_jax.agent import losses, pruning, theta
from xinet_jax.agent.losses import Figures, Losses
from xinet_jax.agent.observing import batch_as_seen
from xinet_jax.agent.optimiser import average, descend
from xinet_jax.agent.state import Agent, AgentState, Hyper, Metrics, acting_gates
from xinet_jax.pruning import gates
from xinet_jax.pruning.theta import Figures as ThetaFigures
from xinet_jax.types import Key, Transition, Tree, all_finite


def pretrain(agent: Agent, hyper: Hyper, state: AgentState, batch: Transition) -> tuple[AgentState, Float[Array, ""]]:
    """Takes one step of OFENet alone, on its auxiliary task.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.

    Returns:
      The new state, and the loss.
    """

    batch = batch_as_seen(state, batch)

    def loss_at(params: Tree) -> tuple[Array, Tree]:
        units = acting_gates(agent, state).get("ofenet")
        return losses.auxiliary_loss(agent.networks, params, state.statistics, units, batch)

    (loss, statistics), gradient = jax.value_and_grad(loss_at, has_aux=True)(state.params["ofenet"])
    params, optimiser = descend(hyper, state.params, state.optimiser, {"ofenet": gradient})
    after = state._replace(params=params, optimiser=optimiser, statistics=statistics)
    return _unless_diverged(state, after, (loss, statistics, jax.tree.map(jnp.square, gradient))), loss


def update(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    batch: Transition,
    key: Key,
    environment_steps: Int[Array, ""] | int,
    updates: Int[Array, ""] | int,
) -> tuple[AgentState, Metrics]:
    """Takes one step of every network and, when it is due, of theta; and prunes, when that is due.

    Programs that take many updates know when the last two are due, and call the three parts themselves
    (`xinet_jax.training.program`).

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far; pruning starts and ramps up by them.
      updates: updates taken so far; theta moves at every `theta_every`-th, units are pruned at every `prune_every`-th.

    Returns:
      The new state, and the update's figures. An agent that has diverged stays as it is.
    """
    key_weights, key_theta, key_prune = jax.random.split(key, 3)
    theta_due, prune_due = pruning.schedule(agent, environment_steps, updates)
    state, metrics = update_weights(agent, hyper, state, batch, key_weights)

    def with_theta() -> AgentState:
        return update_theta(agent, hyper, state, batch, key_theta, environment_steps)[0]

    def without_some_units() -> AgentState:
        return pruning.prune(agent, state, batch, key_prune, environment_steps)

    if agent.pruner == "theta":
        state = jax.lax.cond(theta_due, with_theta, lambda: state)
    if agent.pruner != "none":
        state = jax.lax.cond(prune_due, without_some_units, lambda: state)
    return state, metrics


def update_weights(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key
) -> tuple[AgentState, Metrics]:
    """Takes one step of every network, and of the target critics.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key.

    Returns:
      The new state, and the update's figures. If a loss or gradient is not finite, the state stays as it was, from then
      on. Parameters stay finite with them: a step of Adam is bounded, and so are learning rates.
    """
    key_gates, key_next, key_action = jax.random.split(key, 3)

    # Targets: what the losses take as constants.
    batch = batch_as_seen(state, batch)
    targets = losses.make_targets(agent, hyper, state, batch, key_next)

    # Losses, by parameters, at the gates that the weights see: those that networks act with, or a sample.
    units = None
    if agent.pruner == "theta" and agent.pruning.weights_see == "sampled":
        units = gates.sample(gates.uniform(key_gates, agent.dense, state.origin), state.theta)

    def weights_loss(params: dict[str, Tree]) -> tuple[Array, tuple[Losses, Figures]]:
        every, figures = losses.compute_losses(agent, hyper, state, params, units, batch, targets, key_action)
        return losses.weights_loss(every), (every, figures)

    # Gradients.
    gradient, (loss, figures) = jax.grad(weights_loss, has_aux=True)(state.params)

    # Steps of the weights, of the target critics, and of the losses' averages.
    params, optimiser = descend(hyper, state.params, state.optimiser, gradient)
    params, optimiser, waiting = _unless_waiting(state, params, optimiser)
    target_critic = optax.incremental_update(params["critic"], state.target_critic, hyper.tau)
    _, mse_bars = average.update({"ofenet": loss.ofenet, "critic": loss.critic}, state.mse_bars)

    after = state._replace(
        params=params,
        target_critic=target_critic,
        statistics=figures.statistics,
        optimiser=optimiser,
        mse_bars=mse_bars,
        waiting=waiting,
    )
    figures_of_step = (loss, figures.statistics, mse_bars, jax.tree.map(jnp.square, gradient))
    metrics = Metrics(
        auxiliary_loss=loss.ofenet,
        critic_loss=loss.critic.mean(),
        actor_loss=loss.actor,
        temperature=jnp.exp(state.params["temperature"]),
        entropy=figures.entropy,
        action_value=figures.action_value,
    )
    return _unless_diverged(state, after, figures_of_step), metrics


def update_theta(
    agent: Agent, hyper: Hyper, state: AgentState, batch: Transition, key: Key, environment_steps: Int[Array, ""] | int
) -> tuple[AgentState, ThetaFigures]:
    """Takes one step of theta, by what each unit is worth in nats.

    Args:
      agent, hyper, state: the agent. If it has diverged it stays as it is. It must have taken an update: errors are
        weighed by their moving averages.
      batch: transitions, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far; the price ramps up by them.

    Returns:
      The new state, and the step's figures, which are 0 for an agent that has diverged.
    """
    gradient = theta.loss_gradient(agent, hyper, state, batch_as_seen(state, batch), key, environment_steps)
    new, figures = theta.step(agent, hyper, state, gradient, environment_steps)
    after = _unless_diverged(state, state._replace(theta=new), new)
    return after, jax.tree.map(lambda figure: jnp.where(after.diverged, 0.0, figure), figures)


def _unless_waiting(
    state: AgentState, params: dict[str, Tree], optimiser: dict[str, optax.OptState]
) -> tuple[dict[str, Tree], dict[str, optax.OptState], Int[Array, ""] | None]:
    """Returns parameters and moments after a step, and for how many more the actor waits.

    While it does, its own are those before the step: critics that have just lost units would mislead it.
    """
    if state.waiting is None:
        return params, optimiser, None
    before, after = (state.params["actor"], state.optimiser["actor"]), (params["actor"], optimiser["actor"])
    actor, moments = jax.tree.map(lambda old, new: jnp.where(state.waiting > 0, old, new), before, after)
    return params | {"actor": actor}, optimiser | {"actor": moments}, jnp.maximum(state.waiting - 1, 0)


def _unless_diverged(before: AgentState, after: AgentState, figures: Tree) -> AgentState:
    """Returns the state after a step; the one before it if any figure is not finite, or the agent diverged earlier.

    The squares of the gradients must be among the figures: Adam squares them.
    """
    diverged = before.diverged | ~all_finite(figures)
    state = jax.tree.map(lambda old, new: jnp.where(diverged, old, new), before, after)
    return state._replace(diverged=diverged)
