"""One agent in training, with its own task, replay and random key."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer, Replay
from xinet_jax.agent.state import Agent, AgentState, Hyper
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.task import Task, TaskState
from xinet_jax.training.tally import Tally
from xinet_jax.types import Key, Transition


class Member(NamedTuple):
    """What changes while one agent trains.

    Attributes:
      agent: the agent's state.
      replay: its replay.
      task: its task's state; with several environments, the states of all, with a leading axis for them.
      key: its random key.
    """

    agent: AgentState
    replay: Replay
    task: TaskState
    key: Key


def init_member(agent: Agent, task: Task, buffer: Buffer, hyper: Hyper, seed: Int[Array, ""]) -> Member:
    """Returns a member that has not taken a step yet.

    Args:
      agent, task, buffer: what it is, what it learns, and the sizes of its replay.
      hyper: its hyper-parameters, scalars.
      seed: its seed.
    """
    key_agent, key_task, key_stream = _keys(seed)
    return Member(
        agent=agents.init(agent, hyper, key_agent),
        replay=buffer.init(task.observation_size, task.action_size),
        task=each_env(partial(tasks.reset, task), buffer.envs)(env_keys(key_task, buffer.envs)),
        key=key_stream,
    )


def restart_member(task: Task, buffer: Buffer, member: Member) -> Member:
    """Returns a member whose environments begin new episodes. Those under way end without a last transition."""
    key, key_task = jax.random.split(member.key)
    envs = () if buffer.envs == 1 else (buffer.envs,)
    sizes = [(task.observation_size,), (task.action_size,), (), (task.observation_size,), ()]
    nothing = Transition(*(jnp.zeros((*envs, *size)) for size in sizes))
    replay = buffer.add(member.replay, nothing, stored=jnp.zeros(envs, bool), ended=jnp.ones(envs, bool))
    state = each_env(partial(tasks.reset, task), buffer.envs)(env_keys(key_task, buffer.envs))
    return member._replace(task=state, replay=replay, key=key)


def advance(
    task: Task,
    buffer: Buffer,
    member: Member,
    action: Float[Array, "*envs action"],
    key_reset: Key,
    tally: Tally,
    begun: Float[Array, "*envs 1"] | None = None,
) -> tuple[Member, Tally]:
    """Takes one step of each environment, stores the transitions, and starts a new episode where one ended.

    A transition with anything in it that is not finite is counted and not stored; its episode ends without a return.
    `begun`: see `xinet_jax.tasks.task.begin_step`.
    """
    observation = member.task.observation
    step = each_env(partial(tasks.step_and_reset, task), buffer.envs)
    after, outcome = step(member.task, action, env_keys(key_reset, buffer.envs), begun)
    continues = 1.0 - outcome.terminated.astype(jnp.float32)
    transition = Transition(observation, action, outcome.reward, outcome.observation, continues)
    finished = outcome.ended & outcome.finite
    ended = finished.astype(jnp.int32)
    tally = tally._replace(
        episodes=tally.episodes + ended.sum(),
        episode_return=tally.episode_return + jnp.where(finished, outcome.episode_return, 0.0).sum(),
        episode_length=tally.episode_length + (ended * (member.task.elapsed + 1)).sum(),
        bad_transitions=tally.bad_transitions + (~outcome.finite).sum(),
    )
    replay = buffer.add(member.replay, transition, stored=outcome.finite, ended=outcome.ended)
    state = agents.observe(member.agent, observation, outcome.finite)
    return member._replace(agent=state, task=after, replay=replay), tally


def each_env(function: Callable, envs: int) -> Callable:
    """Returns a function of one environment as one of all that a member has: itself where that is one."""
    return function if envs == 1 else jax.vmap(function)


def env_keys(key: Key, envs: int) -> Array:
    """Returns a random key for each environment; the key itself where there is one."""
    return key if envs == 1 else jax.random.split(key, envs)


def agent_key(seed: Int[Array, ""] | int) -> Key:
    """Returns the key that a seed's agent is initialised with."""
    return _keys(seed)[0]


def _keys(seed: Int[Array, ""] | int) -> tuple[Key, Key, Key]:
    """Returns a seed's keys for the agent, the task's first state, and everything after."""
    key_agent, key_task, key_stream = jax.random.split(jax.random.PRNGKey(seed), 3)
    return key_agent, key_task, key_stream
