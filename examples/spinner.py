"""A task of your own: swing a weak pendulum up and hold it there.

xinet train --import examples/spinner.py --task Spinner-v0 --random-steps 1000 --steps 6000
"""

from pathlib import Path

import jax.numpy as jnp

import xinet_jax
from xinet_jax.tasks.gymnasium import locomotion


def spinner(model, control_cost_weight: float = 0.01):
    """Returns the task. Arguments with a default are what `--task-options` may set."""

    def observe(physics):
        angle = physics.qpos
        return jnp.concatenate([jnp.cos(angle), jnp.sin(angle), physics.qvel])

    def reward_terms(before, control, after, dt):
        return {
            "reward_height": -jnp.cos(after.qpos[0]),  # the angle is 0 where it hangs
            "reward_control": -control_cost_weight * jnp.sum(control**2),
        }

    return xinet_jax.Definition(
        frame_skip=4,
        reset=lambda key, at_rest: locomotion.reset_uniformly(key, at_rest, scale=0.1),
        observe=observe,
        reward_terms=reward_terms,
        terminated=locomotion.never,
        episode_length=200,
    )


xinet_jax.register_task("Spinner-v0", Path(__file__).with_name("spinner.xml"), spinner)
