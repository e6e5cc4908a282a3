"""Runs a saved policy in Gymnasium's own environment, with Gymnasium's own MuJoCo."""

import gymnasium
import numpy as np
from jaxtyping import Float

from xinet_jax.errors import UserError, unknown_name
from xinet_jax.policy import Policy
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.registry import task_names


def evaluate(policy: Policy, episodes: int = 10, seed: int = 0, task: str | None = None) -> Float[np.ndarray, " n"]:
    """Returns the undiscounted return of each of some episodes of the deterministic policy, `[episodes]`.

    The return is NaN where the policy gave an action that is not finite.

    Args:
      policy: the policy.
      episodes: how many; they run side by side.
      seed: the first episode's reset seed; the others count up from it.
      task: a registered task; the policy's own if None.

    Raises:
      UserError: if there is no such task, or the policy does not fit it.
    """
    name = task or policy.structure.task
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, not {episodes}")
    if name not in task_names():  # Gymnasium would import a module that a name like "module:Task" speaks of
        raise unknown_name("task", name, task_names())
    with quiet_deprecations():
        environments = [gymnasium.make(name) for _ in range(episodes)]
    sizes = (environments[0].observation_space.shape, environments[0].action_space.shape)
    if sizes != ((policy.structure.observation,), (policy.structure.action,)):
        fit = f"{policy.structure.observation} and {policy.structure.action}"
        raise UserError(
            f"{name} has observations and actions of shapes {sizes[0]} and {sizes[1]}; the policy takes {fit}"
        )
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
