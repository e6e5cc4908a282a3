"""One update of an agent: the method on a page (docs: method)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from xinet_jax.agent import losses, pruning, theta
from xinet_jax.agent.losses import Figures, Losses
from xinet_jax.agent.optimiser import average, descend
from xinet_jax.agent.state import Agent, AgentState, Hyper, Metrics, acting_gates
from xinet_jax.pruning import gates
from xinet_jax.types import Key, Transition, Tree, Units, all_finite

# What pruning changes: whatever else passed through its conditional would be copied at every update.
_PRUNED = ("params", "target_critic", "statistics", "theta", "alive")


def pretrain(agent: Agent, hyper: Hyper, state: AgentState, batch: Transition) -> tuple[AgentState, Float[Array, ""]]:
    """Takes one step of OFENet alone, on its auxiliary task.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.

    Returns:
      The new state, and the loss.
    """

    def loss_at(params: Tree) -> tuple[Array, Tree]:
        units = acting_gates(agent, state).get("ofenet")
        return losses.auxiliary_loss(agent.networks, params, state.statistics, units, batch)

    (loss, statistics), gradient = jax.value_and_grad(loss_at, has_aux=True)(state.params["ofenet"])
    params, optimiser = descend(hyper, state.params, state.optimiser, {"ofenet": gradient})
    after = state._replace(params=params, optimiser=optimiser, statistics=statistics)
    return _unless_diverged(state, after, (loss, statistics, optax.global_norm(gradient))), loss


def update(
    agent: Agent,
    hyper: Hyper,
    state: AgentState,
    batch: Transition,
    key: Key,
    environment_steps: Int[Array, ""] | int,
    updates: Int[Array, ""] | int,
    more: Callable[[], Transition] | None = None,
) -> tuple[AgentState, Metrics]:
    """Takes one step of every network and, when it is due, of theta; and prunes, when that is due.

    Args:
      agent, hyper, state: the agent.
      batch: transitions, `[batch, ...]`.
      key: random key.
      environment_steps: steps taken so far; pruning starts and ramps up by them.
      updates: updates taken so far; theta moves at every `theta_every`-th, units are pruned at every `prune_every`-th.
      more: draws transitions from which substitutes of pruned units are learnt, `[any, ...]`; None: `batch` is used.

    Returns:
      The new state, and the update's figures. If a loss or gradient is not finite, the state stays as it was, from then
      on. Parameters stay finite with them: a step of Adam is bounded, and so are learning rates.
    """
    key_gates, key_next, key_action = jax.random.split(key, 3)
    theta_due, prune_due = pruning.schedule(agent, environment_steps, updates)

    # Targets: what the losses take as constants.
    targets = losses.make_targets(agent, hyper, state, batch, key_next)

    # Losses, by parameters and gates.
    def losses_at(params: dict[str, Tree], units: Units) -> tuple[Losses, Figures]:
        return losses.compute_losses(agent, hyper, state, params, units, batch, targets, key_action)

    # Gradients of the weights.
    units = acting_gates(agent, state)
    if agent.pruner == "theta" and agent.pruning.weights_see == "sampled":
        units = gates.sample(gates.uniform(key_gates, agent.dense, state.origin), state.theta)

    def weights_loss(params: dict[str, Tree]) -> tuple[Array, tuple[Losses, Figures]]:
        every, figures = losses_at(params, units)
        return losses.weights_loss(every), (every, figures)

    gradient, (loss, figures) = jax.grad(weights_loss, has_aux=True)(state.params)

    # Steps of the weights, and of the target critics.
    params, optimiser = descend(hyper, state.params, state.optimiser, gradient)
    target_critic = optax.incremental_update(params["critic"], state.target_critic, hyper.tau)
    means, mse_bars = average.update({"ofenet": loss.ofenet, "critic": loss.critic}, state.mse_bars)

    # Step of theta, by the losses at the old weights.
    def nats_at(units: Units) -> Losses:
        every, alpha = losses_at(state.params, units)[0], jnp.exp(state.params["temperature"])
        return losses.in_nats(every, agent.networks.shape.predicted, means["ofenet"], means["critic"], alpha)

    def theta_step() -> tuple[Units, Array]:
        return theta.step(agent, hyper, state, nats_at, key_gates, environment_steps)

    new_theta, theta_held = state.theta, jnp.zeros(())
    if agent.pruner == "theta":
        new_theta, theta_held = jax.lax.cond(theta_due, theta_step, lambda: (state.theta, jnp.zeros(())))

    # An agent that diverges stays as it was.
    after = state._replace(
        params=params,
        target_critic=target_critic,
        statistics=figures.statistics,
        optimiser=optimiser,
        theta=new_theta,
        mse_bars=mse_bars,
    )
    figures_of_step = (loss, figures.statistics, new_theta, mse_bars, optax.global_norm(gradient))
    after = _unless_diverged(state, after, figures_of_step)
    metrics = Metrics(
        auxiliary_loss=loss.ofenet,
        critic_loss=loss.critic.mean(),
        actor_loss=loss.actor,
        temperature=jnp.exp(state.params["temperature"]),
        entropy=figures.entropy,
        action_value=figures.action_value,
        theta_held=jnp.where(after.diverged, 0.0, theta_held),
    )

    # Pruning.
    if agent.pruner == "none":
        return after, metrics

    def changed(state: AgentState) -> dict[str, Tree]:
        return {name: getattr(state, name) for name in _PRUNED}

    def pruned() -> dict[str, Tree]:
        transitions = batch if more is None else more()
        return changed(pruning.prune(agent, after, transitions, key_gates, environment_steps))

    return after._replace(**jax.lax.cond(prune_due, pruned, lambda: changed(after))), metrics


def _unless_diverged(before: AgentState, after: AgentState, figures: Tree) -> AgentState:
    """Returns the state after a step; the one before it if any figure is not finite, or the agent diverged earlier.

    The squared norm of the gradients must be among the figures: Adam squares them.
    """
    diverged = before.diverged | ~all_finite(figures)
    state = jax.tree.map(lambda old, new: jnp.where(diverged, old, new), before, after)
    return state._replace(diverged=diverged)
