"""Runs a saved policy in Gymnasium's own environment; a task that Gymnasium does not have, on its most exact engine."""

import gymnasium
import jax
import numpy as np
from jaxtyping import Float

from xinet_jax.errors import UserError, unknown_name
from xinet_jax.policy import Policy
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.registry import exact_engine, in_gymnasium, load_task, task_names
from xinet_jax.tasks.task import Task
from xinet_jax.telemetry.progress import counted


def evaluate(
    policy: Policy, episodes: int = 10, seed: int = 0, task: str | None = None, progress: bool = False
) -> Float[np.ndarray, " n"]:
    """Returns the undiscounted return of each of some episodes of the deterministic policy, `[episodes]`.

    The return is NaN where the policy gave an action that is not finite.

    Args:
      policy: the policy.
      episodes: how many; they run side by side.
      seed: the first episode's reset seed; the others count up from it.
      task: a registered task; the policy's own if None.
      progress: whether to show a bar on standard error where it can take minutes: outside Gymnasium.

    Raises:
      UserError: if there is no such task, or the policy does not fit it.
    """
    name = task or policy.structure.task
    options = policy.structure.task_options if name == policy.structure.task else {}
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, not {episodes}")
    if name not in task_names():  # Gymnasium would import a module that a name like "module:Task" speaks of
        raise unknown_name("task", name, task_names())
    if not in_gymnasium(name):
        return _evaluate_here(policy, episodes, seed, load_task(name, exact_engine(name), **options), progress)
    with quiet_deprecations():
        environments = [gymnasium.make(name, **options) for _ in range(episodes)]
    _check_fit(policy, name, environments[0].observation_space.shape[0], environments[0].action_space.shape[0])
    observations = np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(environments)])
    returns = np.zeros(episodes)
    running = np.ones(episodes, bool)
    while running.any():
        actions = policy(observations)
        sane = np.isfinite(actions).all(axis=1)
        returns[running & ~sane] = np.nan  # MuJoCo would take such an action for 0
        running &= sane
        for i in np.flatnonzero(running):
            observations[i], reward, terminated, truncated, _ = environments[i].step(actions[i])
            returns[i] += float(reward)
            running[i] = not (terminated or truncated)
    for environment in environments:
        environment.close()
    return returns


def _evaluate_here(policy: Policy, episodes: int, seed: int, task: Task, progress: bool) -> Float[np.ndarray, " n"]:
    """The same for a task that Gymnasium does not have."""
    _check_fit(policy, task.name, task.observation_size, task.action_size)
    step = jax.jit(jax.vmap(lambda state, action: tasks.step(task, state, action)))
    keys = jax.vmap(jax.random.PRNGKey)(np.arange(seed, seed + episodes))
    state = jax.jit(jax.vmap(lambda key: tasks.reset(task, key)))(keys)
    returns, running = np.zeros(episodes), np.ones(episodes, bool)
    for _ in counted(task.definition.episode_length, "evaluating", progress):
        if not running.any():
            break
        actions = tasks.to_action(task, policy(np.asarray(state.observation)))
        state, outcome = step(state, actions)
        returns = np.where(running, outcome.episode_return, returns)
        running &= ~np.asarray(outcome.ended)
    return returns


def _check_fit(policy: Policy, name: str, observation: int, action: int) -> None:
    own = policy.structure
    if (observation, action) != (own.observation, own.action):
        raise UserError(
            f"{name} has observations and actions of {observation} and {action} numbers; the policy takes "
            f"{own.observation} and {own.action}"
        )
