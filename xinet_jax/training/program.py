"""What is compiled: the whole of training on the device, for all members at once.

Each phase is a loop of one member's step, `vmap`ped over the members of a device and the same on every device. Training
is stretches of such steps, with theta and pruning between them. The number of iterations is an argument and not a
shape, so a chunk of any length runs the same program. State is donated: each phase works in place.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.agent.state import Agent, AgentState, Hyper, Metrics
from xinet_jax.config import Round
from xinet_jax.tasks.task import Task, begin_step
from xinet_jax.training import evaluation_program
from xinet_jax.training.devices import on_every_device
from xinet_jax.training.member import Member, advance, each_env, init_member, restart_member
from xinet_jax.training.tally import Tally, empty_tally
from xinet_jax.types import Key


class Program(NamedTuple):
    """The compiled phases. Leading axis of every array: members.

    Attributes:
      init: `(hyper, seeds) -> members`.
      collect: `(members, rounds) -> (members, tally)`; random actions, nothing learnt.
      pretrain: `(hyper, members, updates) -> (members, tally)`; OFENet alone, on what was collected.
      train: `(hyper, members, first_step, rounds, first_update) -> (members, tally)`; act, step, store, sample, update.
      restart: `members -> members`; new episodes, where the environments' states are not in a checkpoint.
      evaluate: `(agent states, seeds) -> returns [members, episodes]`; the deterministic policy, whole episodes.
    """

    init: Callable[..., Member]
    collect: Callable[..., tuple[Member, Tally]]
    pretrain: Callable[..., tuple[Member, Tally]]
    train: Callable[..., tuple[Member, Tally]]
    restart: Callable[[Member], Member]
    evaluate: Callable[..., Float[Array, "members episodes"]]


def make_program(agent: Agent, task: Task, buffer: Buffer, eval_episodes: int, mesh: Mesh, updates: int = 1) -> Program:
    """Returns the phases of training, jitted, for members spread over a mesh of devices.

    Args:
      agent, task, buffer: what learns what, and the sizes of its replay.
      eval_episodes: episodes of an evaluation.
      mesh: the devices.
      updates: updates after each step of all environments of a member.
    """
    envs, cycle = (buffer.envs,) * (buffer.envs > 1), Round(buffer.envs, updates)

    def init(hyper: Hyper, seed: Int[Array, ""]) -> Member:
        return init_member(agent, task, buffer, hyper, seed)

    def collect(members: Member, count: Int[Array, ""]) -> tuple[Member, Tally]:
        def step(_: Int[Array, ""], member: Member, tally: Tally) -> tuple[Member, Tally]:
            key, key_action, key_reset = jax.random.split(member.key, 3)
            action = jax.random.uniform(key_action, (*envs, task.action_size), minval=-1.0, maxval=1.0)
            return advance(task, buffer, member._replace(key=key), action, key_reset, tally)

        return _repeat(step, count, members)

    def pretrain(hyper: Hyper, members: Member, count: Int[Array, ""]) -> tuple[Member, Tally]:
        def step(_: Int[Array, ""], member: Member, tally: Tally, hyper: Hyper) -> tuple[Member, Tally]:
            key, key_sample = jax.random.split(member.key)
            batch = buffer.sample(member.replay, key_sample)
            state, loss = agents.pretrain(agent, hyper, member.agent, batch)
            metrics = tally.metrics._replace(auxiliary_loss=tally.metrics.auxiliary_loss + loss)
            return member._replace(agent=state, key=key), tally._replace(metrics=metrics, updates=tally.updates + 1)

        return _repeat(step, count, members, hyper)

    def update_repeatedly(hyper: Hyper, member: Member, key_sample: Key, key_update: Key) -> tuple[AgentState, Metrics]:
        """Takes a round's updates, and returns the agent's state and the sums of their figures."""

        def update(carry: tuple[AgentState, Metrics], keys: tuple[Key, Key]) -> tuple[tuple[AgentState, Metrics], None]:
            state, sums = carry
            batch = buffer.sample(member.replay, keys[0])
            state, metrics = agents.update_weights(agent, hyper, state, batch, keys[1])
            return (state, jax.tree.map(jnp.add, sums, metrics)), None

        keys = jax.random.split(key_sample, updates), jax.random.split(key_update, updates)
        return jax.lax.scan(update, (member.agent, empty_tally().metrics), keys)[0]

    def train(
        hyper: Hyper, members: Member, first_step: Int[Array, ""], count: Int[Array, ""], first_update: Int[Array, ""]
    ) -> tuple[Member, Tally]:
        def step(i: Int[Array, ""], member: Member, tally: Tally, hyper: Hyper) -> tuple[Member, Tally]:
            key, key_action, key_reset, key_sample, key_update = jax.random.split(member.key, 5)
            action = agents.act(agent, member.agent, member.task.observation, key_action)
            # The host steps the physics while the device updates, from transitions up to the one before.
            begun = each_env(partial(begin_step, task), buffer.envs)(member.task, action)
            if updates == 1:
                batch, begun = jax.lax.optimization_barrier((buffer.sample(member.replay, key_sample), begun))
                state, metrics = agents.update_weights(agent, hyper, member.agent, batch, key_update)
            else:
                keys, begun = jax.lax.optimization_barrier(((key_sample, key_update), begun))
                state, metrics = update_repeatedly(hyper, member, *keys)
            # XLA orders by data alone. The transition must be stored after the minibatch is read, or the whole replay
            # is copied before; and a GPU must be busy before the host is waited for. The temperature is finite and
            # depends on all gradients, since it stays as it is where one is not finite.
            updated = 0.0 * state.params["temperature"]
            begun, action = begun + updated, action + updated
            sums = jax.tree.map(jnp.add, tally.metrics, metrics)
            tally = tally._replace(metrics=sums, updates=tally.updates + updates)
            member = member._replace(agent=state, key=key)
            return advance(task, buffer, member, action, key_reset, tally, begun)

        def move_theta(i: Int[Array, ""], member: Member, tally: Tally, hyper: Hyper) -> tuple[Member, Tally]:
            key, key_sample, key_update = jax.random.split(member.key, 3)
            batch = buffer.sample(member.replay, key_sample)
            steps = first_step + i * cycle.steps
            state, figures = agents.update_theta(agent, hyper, member.agent, batch, key_update, steps)
            sums = jax.tree.map(jnp.add, tally.theta, figures)
            return member._replace(agent=state, key=key), tally._replace(
                theta=sums, theta_steps=tally.theta_steps + ~state.diverged
            )

        def prune(i: Int[Array, ""], member: Member, tally: Tally, _: Hyper) -> tuple[Member, Tally]:
            key, key_sample, key_prune = jax.random.split(member.key, 3)
            batch = buffer.sample_more(member.replay, key_sample)
            state = agents.prune(agent, member.agent, batch, key_prune, first_step + i * cycle.steps)
            return member._replace(agent=state, key=key), tally

        def phase(each: Callable, carry: tuple[Member, Tally], hyper: Hyper) -> tuple[Member, Tally]:
            if agent.pruner == "none":
                return _loop(each, step, 0, count, carry, hyper)

            # Plain updates until something is due, so that they do not ask at each. What is due is a loop of one
            # iteration or none, and not a conditional, which would copy the state.
            def stretch(carry: tuple[Array, tuple[Member, Tally]]) -> tuple[Array, tuple[Member, Tally]]:
                start, rest = carry
                steps, done = first_step + (start + 1) * cycle.steps, first_update + start * cycle.updates
                end = start + agents.until_due(agent, steps, done, count - start, cycle)
                rest = _loop(each, step, start, end, rest, hyper)
                steps, done = first_step + end * cycle.steps, first_update + (end - 1) * cycle.updates
                theta_due, prune_due = agents.schedule(agent, steps, done)
                if agent.pruner == "theta":
                    rest = _loop(each, move_theta, end, end + theta_due, rest, hyper)
                return end, _loop(each, prune, end, end + prune_due, rest, hyper)

            return jax.lax.while_loop(lambda carry: carry[0] < count, stretch, (jnp.int32(0), carry))[1]

        return _for_members(phase, members, hyper)

    def restart(members: Member) -> Member:
        return jax.vmap(partial(restart_member, task, buffer))(members)

    def evaluate(state: AgentState, seed: Int[Array, ""]) -> Float[Array, " episodes"]:
        return evaluation_program.evaluate(agent, task, eval_episodes, state, seed)

    return Program(
        init=on_every_device(jax.vmap(init), mesh, (True, True)),
        collect=on_every_device(collect, mesh, (True, False), donated=0),
        pretrain=on_every_device(pretrain, mesh, (True, True, False), donated=1),
        train=on_every_device(train, mesh, (True, True, False, False, False), donated=1),
        restart=on_every_device(restart, mesh, (True,), donated=0),
        evaluate=on_every_device(jax.vmap(evaluate), mesh, (True, True)),
    )


def _repeat(step: Callable, count: Int[Array, ""], members: Member, *arguments: Any) -> tuple[Member, Tally]:
    """Takes a step of every member `count` times.

    Args:
      step: of one member: `(i, member, tally, *arguments) -> (member, tally)`.
      count: number of steps.
      members: the members, with a leading member axis.
      *arguments: the step's other arguments, with a leading member axis.
    """

    def phase(each: Callable, carry: tuple[Member, Tally], *arguments: Any) -> tuple[Member, Tally]:
        return _loop(each, step, 0, count, carry, *arguments)

    return _for_members(phase, members, *arguments)


def _loop(
    each: Callable, step: Callable, start: Array | int, end: Array, carry: tuple[Member, Tally], *arguments: Any
) -> tuple[Member, Tally]:
    """Takes a step for every `i` from `start` to `end - 1`. `each`: see `_for_members`; the rest: see `_repeat`."""
    return jax.lax.fori_loop(start, end, lambda i, carry: each(partial(step, i))(*carry, *arguments), carry)


def _for_members(phase: Callable, members: Member, *arguments: Any) -> tuple[Member, Tally]:
    """Runs a phase whose loops are around the members. The other way round, JAX traces for twice as long.

    Args:
      phase: `(each, (members, tally), *arguments) -> (members, tally)`, where `each` makes a function of one member one
        of all.
      members: the members, with a leading member axis.
      *arguments: the phase's other arguments, with a leading member axis.
    """
    size = members.key.shape[:1]
    tally = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, size), empty_tally())
    if size == (1,):  # to trace it batched takes twice as long
        carry, alone = jax.tree.map(lambda leaf: leaf[0], ((members, tally), arguments))
        return jax.tree.map(lambda leaf: leaf[None], phase(lambda function: function, carry, *alone))
    return phase(jax.vmap, (members, tally), *arguments)
