"""Runs a saved policy in Gymnasium's own environment; a task that Gymnasium does not have, on its most exact engine."""

import contextlib
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from jaxtyping import Float

from xinet_jax.compat.jax import in_float32
from xinet_jax.errors import UserError, brief
from xinet_jax.policy.policy import Policy
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.engines.host_call import hearing_interrupts
from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.libraries.environments import in_one_line
from xinet_jax.tasks.libraries.environments import make_environment as make_registered
from xinet_jax.tasks.options import options_text
from xinet_jax.tasks.registry import check_name, exact_engine, gymnasium_name, in_gymnasium, load_task
from xinet_jax.tasks.task import Task
from xinet_jax.telemetry.progress import EpisodesBar

_SIDE_BY_SIDE = 32  # episodes


class Evaluation(NamedTuple):
    """What came of an evaluation that may have been interrupted.

    Attributes:
      returns: of the finished episodes, by their reset seeds, `[finished]`.
      interrupted: whether it was.
    """

    returns: Float[np.ndarray, " finished"]
    interrupted: bool


class _Step(NamedTuple):
    """What one control step of the episodes under way led to.

    Attributes:
      finished: `(number, return)` of each episode that ended with it; numbers count from 0.
      under_way: what is done of the others, in episodes of full length.
    """

    finished: list[tuple[int, float]]
    under_way: float


@in_float32
def evaluate(
    policy: Policy, episodes: int = 10, seed: int = 0, task: str | None = None, progress: bool = False
) -> Float[np.ndarray, " n"]:
    """Returns the undiscounted return of each of some episodes of the deterministic policy, `[episodes]`.

    An episode's return depends on its reset seed alone, not on how many there are (outside Gymnasium to rounding). It
    is NaN where the policy gave an action that is not finite.

    Args:
      policy: the policy.
      episodes: how many.
      seed: the first episode's reset seed; the others count up from it.
      task: a registered task; the policy's own if None.
      progress: whether to show a bar on standard error, if that is a terminal.

    Raises:
      UserError: if there is no such task, or the policy does not fit it.
    """
    numbers, returns = array("q"), array("d")
    for number, episode_return in _run(policy, episodes, seed, task, progress):
        numbers.append(number)
        returns.append(episode_return)
    return _in_order(numbers, returns)


@in_float32
def evaluate_until_interrupted(
    policy: Policy, episodes: int = 10, seed: int = 0, task: str | None = None, progress: bool = False
) -> Evaluation:
    """Does what `evaluate` does, and if Ctrl-C interrupts it, returns what there is by then."""
    numbers, returns, interrupted = array("q"), array("d"), False
    try:
        for number, episode_return in _run(policy, episodes, seed, task, progress):
            numbers.append(number)
            returns.append(episode_return)
    except KeyboardInterrupt:
        interrupted = True
    return Evaluation(_in_order(numbers, returns), interrupted)


def check_options_in_gymnasium(name: str, options: dict[str, Any]) -> None:
    """Makes Gymnasium's environment of a task with some options, and takes one step in it.

    Raises:
      UserError: if Gymnasium will not have these options. Nothing happens without options, or if it has no such task.
    """
    if options and in_gymnasium(name) and name == gymnasium_name(name):
        with contextlib.closing(_make_environment(name, options)) as environment, _told_in_one_line(name, options):
            environment.step(np.zeros(environment.action_space.shape, np.float32))


def _in_order(numbers: array, returns: array) -> Float[np.ndarray, " finished"]:
    finished = len(returns)  # an interrupt can come before an episode's return, and after its number
    return np.asarray(returns)[np.argsort(np.asarray(numbers[:finished]))]


def _run(policy: Policy, episodes: int, seed: int, task: str | None, progress: bool) -> Iterator[tuple[int, float]]:
    """Yields the number and the return of every episode, as they end."""
    name = task or policy.structure.task
    options = policy.structure.task_options if name == policy.structure.task else {}
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, not {brief(episodes)}")
    if seed < 0 or seed + episodes > 2**31:
        raise UserError(f"seed must be 0 or more, and seed + episodes at most 2**31, not {brief(seed + episodes)}")
    check_name(name)  # Gymnasium would import a module that a name like "module:Task" speaks of
    if in_gymnasium(name):
        steps = _run_in_gymnasium(policy, episodes, seed, name, options)
    else:
        steps = _run_here(policy, episodes, seed, load_task(name, exact_engine(name), **options))
    with EpisodesBar(episodes, progress) as bar, contextlib.closing(steps):
        for step in steps:
            for number, episode_return in step.finished:
                bar.add(episode_return)
                yield number, episode_return
            bar.show(step.under_way)


def _run_in_gymnasium(policy: Policy, episodes: int, seed: int, name: str, options: dict[str, Any]) -> Iterator[_Step]:
    """Yields every step of episodes in Gymnasium's environments. Where one ends, the next begins."""
    with contextlib.ExitStack() as stack:
        if name != gymnasium_name(name):
            stack.enter_context(in_one_line(gymnasium_name(name), options))
        environments = []
        for _ in range(min(episodes, _SIDE_BY_SIDE)):
            environments.append(stack.enter_context(contextlib.closing(_make_environment(name, options))))
        first = environments[0]
        _check_fit(policy, name, first.observation_space.shape[0], first.action_space.shape[0])
        count, limit = len(environments), first.spec.max_episode_steps
        observations = np.stack([env.reset(seed=seed + slot)[0] for slot, env in enumerate(environments)])
        numbers, begun = np.arange(count), count
        returns, elapsed, running = np.zeros(count), np.zeros(count, int), np.ones(count, bool)
        while running.any():
            actions, finished = policy.each(observations), []
            for slot in np.flatnonzero(running):
                environment, ended = environments[slot], True
                if np.isfinite(actions[slot]).all():
                    observations[slot], reward, terminated, truncated, _ = environment.step(actions[slot])
                    returns[slot] += float(reward)
                    elapsed[slot] += 1
                    ended = terminated or truncated
                else:
                    returns[slot] = np.nan  # MuJoCo would take such an action for 0
                if ended:
                    finished.append((int(numbers[slot]), float(returns[slot])))
                    returns[slot], elapsed[slot], running[slot] = 0.0, 0, begun < episodes
                    if running[slot]:
                        observations[slot], _ = environment.reset(seed=seed + begun)
                        numbers[slot], begun = begun, begun + 1
            yield _Step(finished, elapsed.sum() / limit)


def _run_here(policy: Policy, episodes: int, seed: int, task: Task) -> Iterator[_Step]:
    """Yields every step of episodes of a task that Gymnasium does not have.

    Starts can cost as much as hundreds of steps, so a batch of episodes begins together, when the last has ended. The
    last batch is filled up, for all to be of one size.
    """
    _check_fit(policy, task.name, task.observation_size, task.action_size)
    step = jax.jit(jax.vmap(lambda state, action: tasks.step(task, state, action)))
    reset = jax.jit(jax.vmap(lambda seed: tasks.reset(task, jax.random.PRNGKey(seed))))
    count = min(episodes, _SIDE_BY_SIDE)
    for first in range(0, episodes, count):
        numbers = np.arange(first, first + count)
        running = numbers < episodes
        with hearing_interrupts():
            state = jax.block_until_ready(reset(seed + np.minimum(numbers, episodes - 1)))
        while running.any():
            actions = tasks.to_action(task, policy.each(np.asarray(state.observation)))
            with hearing_interrupts():
                state, outcome = jax.block_until_ready(step(state, actions))
            ended, returns = running & np.asarray(outcome.ended), np.asarray(outcome.episode_return)
            running &= ~ended
            done = np.asarray(state.elapsed)[running].sum() / task.definition.episode_length
            yield _Step([(int(numbers[slot]), float(returns[slot])) for slot in np.flatnonzero(ended)], done)


def _make_environment(name: str, options: dict[str, Any]) -> gymnasium.Env:
    """Returns Gymnasium's environment of a task, after a reset. Raises UserError for options that it will not have."""
    if name != gymnasium_name(name):
        return make_registered(gymnasium_name(name), options)
    with _told_in_one_line(name, options), quiet_deprecations():
        environment = gymnasium.make(name, **options)
        environment.reset(seed=0)
    return environment


@contextlib.contextmanager
def _told_in_one_line(name: str, options: dict[str, Any]) -> Iterator[None]:
    """Raises UserError for whatever Gymnasium raises. Each of its environments checks options in its own way."""
    try:
        yield
    except Exception as error:
        reason = brief(f"{type(error).__name__}: {error}")
        chosen = f" with task options {options_text(options)}" if options else ""
        raise UserError(f"Gymnasium cannot run {name}{chosen}: {reason}") from None


def _check_fit(policy: Policy, name: str, observation: int, action: int) -> None:
    structure = policy.structure
    if (observation, action) != (structure.observation, structure.action):
        raise UserError(
            f"{name} has observations and actions of {observation} and {action} numbers; the policy takes "
            f"{structure.observation} and {structure.action}"
        )
