"""Pruning of an agent: when it is due, which units it removes, and how it ends."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from xinet_jax.agent.observing import batch_as_seen
from xinet_jax.agent.state import Agent, AgentState, acting_gates
from xinet_jax.config import Round
from xinet_jax.pruning import folding, gates, schedules, substitutes, theta
from xinet_jax.types import Key, Transition, Tree, Units


def schedule(
    agent: Agent, environment_steps: Int[Array, ""] | int, updates: Int[Array, ""] | int
) -> tuple[Bool[Array, ""] | bool, Bool[Array, ""] | bool]:
    """Returns whether theta moves after an update, and whether units are pruned then (method, section 4).

    Args:
      agent: the agent.
      environment_steps: steps taken so far.
      updates: updates taken so far; where several are taken at a time, those before these.
    """
    if agent.pruner == "none":
        return False, False
    rules = agent.pruning
    active = environment_steps >= min(map(rules.start, agent.gated))
    if agent.pruner != "theta":
        return False, active & (updates % rules.prune_every == 0)
    if rules.prune_stop is not None:
        active = active & (environment_steps <= rules.prune_stop)
    return active & (updates % rules.theta_every == 0), active & (updates % rules.prune_every == 0)


def until_due(
    agent: Agent,
    environment_steps: Int[Array, ""],
    updates: Int[Array, ""],
    most: Int[Array, ""],
    each: Round = Round(),  # noqa: B008
) -> Int[Array, ""]:
    """Returns how many rounds to take, up to and including the next after which theta or units may be due.

    `schedule` says whether they are: nothing is after `prune_stop`.

    Args:
      agent: the agent. Its periods of updates are whole rounds.
      environment_steps, updates: what `schedule` is given at the next round.
      most: returned if nothing is due so soon.
      each: a round's steps and updates.
    """
    if agent.pruner == "none":
        return most
    rules = agent.pruning
    waiting = -(jnp.minimum(environment_steps - min(map(rules.start, agent.gated)), 0) // each.steps)
    periods = [rules.prune_every] + ([rules.theta_every] if agent.pruner == "theta" else [])
    due = [waiting + (-(updates // each.updates + waiting)) % (period // each.updates) for period in periods]
    return jnp.minimum(jnp.stack(due).min() + 1, most)


def prune(
    agent: Agent, state: AgentState, batch: Transition, key: Key, environment_steps: Int[Array, ""] | int
) -> AgentState:
    """Prunes the units that theta or the schedule says (method, sections 4 and 6).

    Args:
      agent, state: the agent. If it has diverged it stays as it is.
      batch: transitions from which substitutes of pruned units are learnt, `[batch, ...]`.
      key: random key, for the pruner that chooses at random.
      environment_steps: steps taken so far; schedules go by them.
    """
    rules, shape = agent.pruning, agent.networks.shape
    if agent.pruner == "theta":
        new_theta, alive = gates.prune(state.theta, state.alive, rules.theta_min)
    else:
        score = schedules.PRUNERS[agent.pruner](shape, state.params, state.alive, agent.dense, state.origin, key)
        progress = schedules.progress(rules, environment_steps - rules.prune_start)
        share = schedules.target_share(rules.final_share, progress)
        new_theta = alive = schedules.prune(agent.dense, shape, score, state.alive, share)
    new_theta, alive = _keep(state.diverged, (state.theta, state.alive), (new_theta, alive))
    waiting = _waiting(agent, state, alive)
    return state._replace(theta=new_theta, alive=alive, waiting=waiting, **without(agent, state, alive, batch))


def settle(agent: Agent, state: AgentState, batch: Transition) -> AgentState:
    """Ends pruning at `prune_stop`: returns the agent with every gate at 0 or 1 (method, section 4).

    Units of lowest theta are pruned until the agent costs no more than theta expects, but each layer of actor and
    critics keeps a unit. The gates of the other units move into their outgoing weights, so that what they contribute
    stays the same. A diverged agent stays as it is.

    Args:
      agent, state: the agent.
      batch: transitions from which substitutes of pruned units are learnt, `[batch, ...]`.
    """
    shape = agent.networks.shape
    alive = theta.rounded(agent.pruning, agent.dense, shape, state.theta, state.alive)
    units = jax.tree.map(jnp.multiply, acting_gates(agent, state), alive)
    moved = without(agent, state, alive, batch)
    params = folding.fold(shape, moved["params"], units)
    target = folding.fold(shape, moved["params"] | {"critic": moved["target_critic"]}, units)["critic"]
    settled = moved | {"params": params, "target_critic": target, "theta": alive, "alive": alive}
    settled |= {"waiting": _waiting(agent, state, alive)}
    return state._replace(**{name: _keep(state.diverged, getattr(state, name), new) for name, new in settled.items()})


def without(agent: Agent, state: AgentState, alive: Units, batch: Transition) -> dict[str, Tree]:
    """Returns parameters, target critics and statistics with substitutes for the units that `alive` no longer has."""
    params = state.params | {"target_critic": state.target_critic}
    lost = {name: jax.tree.map(jnp.subtract, state.alive[name], alive[name]) for name in alive}
    units, batch = acting_gates(agent, state), batch_as_seen(state, batch)
    params, statistics = substitutes.without(agent.networks, params, state.statistics, units, alive, lost, batch)
    target_critic = params.pop("target_critic")
    return {"params": params, "target_critic": target_critic, "statistics": statistics}


def _waiting(agent: Agent, state: AgentState, alive: Units) -> Int[Array, ""] | None:
    """Returns for how many updates the actor waits, once there are only the units that `alive` has."""
    if state.waiting is None:
        return None
    lost = jax.tree.leaves(jax.tree.map(lambda old, new: jnp.any(old != new), state.alive, alive))
    return jnp.where(jnp.stack(lost).any(), agent.pruning.actor_waits, state.waiting)


def _keep(diverged: Bool[Array, ""], old: Tree, new: Tree) -> Tree:
    return jax.tree.map(lambda o, n: jnp.where(diverged, o, n), old, new)
