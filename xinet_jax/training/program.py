"""What is compiled: the whole of training on the device, for all members at once.

Each phase is a loop of one member's step, `vmap`ped over the members of a device and the same on every device. The
number of iterations is an argument and not a shape, so a chunk of any length runs the same program. State is donated:
each phase works in place.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from xinet_jax import agent as agents
from xinet_jax.agent.replay import add_if, empty_transition, sample_after_add, sample_more
from xinet_jax.agent.state import Agent, AgentState, Hyper, Metrics
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.task import Task, TaskState
from xinet_jax.training.devices import EVERYWHERE, SPREAD
from xinet_jax.types import Key, Transition

_EVALUATION = 0x5EED  # folded into a member's seed, so that evaluation draws nothing from training's stream


class Member(NamedTuple):
    """One agent in training, with its own task, replay and random key."""

    agent: AgentState
    replay: Any
    task: TaskState
    key: Key


class Tally(NamedTuple):
    """Sums over the steps of a chunk, one set per member.

    Attributes:
      metrics: sums of the updates' figures.
      updates: number of updates.
      episodes, episode_return, episode_length: finished episodes: how many, and sums of returns and lengths.
      bad_transitions: transitions with anything that is not finite, which were not stored.
    """

    metrics: Metrics
    updates: Int[Array, "*members"]
    episodes: Int[Array, "*members"]
    episode_return: Float[Array, "*members"]
    episode_length: Int[Array, "*members"]
    bad_transitions: Int[Array, "*members"]


class Program(NamedTuple):
    """The compiled phases. Leading axis of every array: members.

    Attributes:
      init: `(hyper, seeds) -> members`.
      collect: `(members, count) -> (members, tally)`; random actions, nothing learnt.
      pretrain: `(hyper, members, count) -> (members, tally)`; OFENet alone, on what was collected.
      train: `(hyper, members, first_step, count, first_update) -> (members, tally)`; act, step, store, sample, update.
      evaluate: `(agent states, seeds) -> returns [members, episodes]`; the deterministic policy, whole episodes.
    """

    init: Callable[..., Member]
    collect: Callable[..., tuple[Member, Tally]]
    pretrain: Callable[..., tuple[Member, Tally]]
    train: Callable[..., tuple[Member, Tally]]
    evaluate: Callable[..., Float[Array, "members episodes"]]


def make_program(agent: Agent, task: Task, replay: TrajectoryBuffer, eval_episodes: int, mesh: Mesh) -> Program:
    """Returns the phases of training for one agent on one task, jitted, for members spread over a mesh of devices."""

    def init(hyper: Hyper, seed: Int[Array, ""]) -> Member:
        key_agent, key_task, key_stream = _keys(seed)
        return Member(
            agent=agents.init(agent, hyper, key_agent),
            replay=replay.init(empty_transition(task.observation_size, task.action_size)),
            task=tasks.reset(task, key_task),
            key=key_stream,
        )

    def collect(members: Member, count: Int[Array, ""]) -> tuple[Member, Tally]:
        def step(_: Int[Array, ""], member: Member, tally: Tally) -> tuple[Member, Tally]:
            key, key_action, key_reset = jax.random.split(member.key, 3)
            action = jax.random.uniform(key_action, (task.action_size,), minval=-1.0, maxval=1.0)
            return _advance(task, replay, member._replace(key=key), action, key_reset, tally)

        return _repeat(step, count, members)

    def pretrain(hyper: Hyper, members: Member, count: Int[Array, ""]) -> tuple[Member, Tally]:
        def step(_: Int[Array, ""], member: Member, tally: Tally, hyper: Hyper) -> tuple[Member, Tally]:
            key, key_sample = jax.random.split(member.key)
            batch = replay.sample(member.replay, key_sample).experience
            state, loss = agents.pretrain(agent, hyper, member.agent, batch)
            metrics = tally.metrics._replace(auxiliary_loss=tally.metrics.auxiliary_loss + loss)
            return member._replace(agent=state, key=key), tally._replace(metrics=metrics, updates=tally.updates + 1)

        return _repeat(step, count, members, hyper)

    def train(
        hyper: Hyper, members: Member, first_step: Int[Array, ""], count: Int[Array, ""], first_update: Int[Array, ""]
    ) -> tuple[Member, Tally]:
        def step(i: Int[Array, ""], member: Member, tally: Tally, hyper: Hyper) -> tuple[Member, Tally]:
            key, key_action, key_reset, key_sample, key_update, key_more = jax.random.split(member.key, 6)
            action = agents.act(agent, member.agent, member.task.observation, key_action)
            member, tally = _advance(task, replay, member._replace(key=key), action, key_reset, tally)
            batch = sample_after_add(replay, member.replay, key_sample, i >= 0)
            more = partial(sample_more, replay, member.replay, key_more)
            state, metrics = agents.update(
                agent, hyper, member.agent, batch, key_update, first_step + i + 1, first_update + i, more
            )
            tally = tally._replace(metrics=jax.tree.map(jnp.add, tally.metrics, metrics), updates=tally.updates + 1)
            return member._replace(agent=state), tally

        return _repeat(step, count, members, hyper)

    def evaluate(state: AgentState, seed: Int[Array, ""]) -> Float[Array, " episodes"]:
        key = jax.random.fold_in(jax.random.PRNGKey(seed), _EVALUATION)
        start = jax.vmap(lambda k: tasks.reset(task, k))(jax.random.split(key, eval_episodes))

        def step(carry: tuple[TaskState, Array]) -> tuple[TaskState, Array]:
            episodes, ended = carry
            actions = agents.act(agent, state, episodes.observation, None)
            after, outcome = jax.vmap(lambda s, a: tasks.step(task, s, a))(episodes, actions)
            # An episode that has ended stands still, and keeps its return.
            keep = lambda old, new: jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)  # noqa: E731
            return jax.tree.map(keep, episodes, after), ended | outcome.ended

        final, _ = jax.lax.while_loop(lambda c: ~c[1].all(), step, (start, jnp.zeros(eval_episodes, bool)))
        return final.episode_return

    def phase(function: Callable, of_members: tuple[bool, ...], donated: int | None = None) -> Callable:
        specs = tuple(SPREAD if own else EVERYWHERE for own in of_members)

        def on_device(*arguments: Any) -> Any:
            # JAX's default on accelerators is less than float32: not good enough for physics.
            with jax.default_matmul_precision("highest"):
                return function(*arguments)

        # Nothing is replicated that JAX would have to keep in step, so it need not check for it.
        everywhere = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=SPREAD, check_vma=False)
        everywhere.__name__ = function.__name__
        return jax.jit(everywhere, donate_argnums=donated)

    return Program(
        init=phase(jax.vmap(init), (True, True)),
        collect=phase(collect, (True, False), donated=0),
        pretrain=phase(pretrain, (True, True, False), donated=1),
        train=phase(train, (True, True, False, False, False), donated=1),
        evaluate=phase(jax.vmap(evaluate), (True, True)),
    )


def agent_key(seed: Int[Array, ""] | int) -> Key:
    """Returns the key that a seed's agent is initialised with."""
    return _keys(seed)[0]


def _keys(seed: Int[Array, ""] | int) -> tuple[Key, Key, Key]:
    """Returns a seed's keys for the agent, the task's first state, and everything after."""
    key_agent, key_task, key_stream = jax.random.split(jax.random.PRNGKey(seed), 3)
    return key_agent, key_task, key_stream


def _repeat(step: Callable, count: Int[Array, ""], members: Member, *given: Any) -> tuple[Member, Tally]:
    """Takes a step of every member, again and again: `(i, member, tally, *given) -> (member, tally)`, for one member.

    The loop is around the members and not the other way: JAX traces that in half the time.
    """

    size = members.key.shape[:1]
    tally = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, size), _empty_tally())
    if size == (1,):  # to trace it batched takes twice as long
        carry, own = jax.tree.map(lambda leaf: leaf[0], ((members, tally), given))
        after = jax.lax.fori_loop(0, count, lambda i, carry: step(i, *carry, *own), carry)
        return jax.tree.map(lambda leaf: leaf[None], after)

    def body(i: Int[Array, ""], carry: tuple[Member, Tally]) -> tuple[Member, Tally]:
        return jax.vmap(lambda member, tally, *own: step(i, member, tally, *own))(*carry, *given)

    return jax.lax.fori_loop(0, count, body, (members, tally))


def _advance(
    task: Task, replay: TrajectoryBuffer, member: Member, action: Array, key_reset: Key, tally: Tally
) -> tuple[Member, Tally]:
    """Takes one step of the task, stores the transition, and starts a new episode where one ended.

    A transition with anything in it that is not finite is counted and not stored; its episode ends without a return.
    """
    observation = member.task.observation
    after, outcome = tasks.step_and_reset(task, member.task, action, key_reset)
    continues = 1.0 - outcome.terminated.astype(jnp.float32)
    transition = Transition(observation, action, outcome.reward, outcome.observation, continues)
    finished = outcome.ended & outcome.finite
    ended = finished.astype(jnp.int32)
    tally = tally._replace(
        episodes=tally.episodes + ended,
        episode_return=tally.episode_return + jnp.where(finished, outcome.episode_return, 0.0),
        episode_length=tally.episode_length + ended * (member.task.elapsed + 1),
        bad_transitions=tally.bad_transitions + ~outcome.finite,
    )
    return member._replace(task=after, replay=add_if(replay, member.replay, transition, outcome.finite)), tally


def _empty_tally() -> Tally:
    metrics = Metrics(*(jnp.zeros(()) for _ in Metrics._fields))
    return Tally(metrics, jnp.int32(0), jnp.int32(0), jnp.zeros(()), jnp.int32(0), jnp.int32(0))
