"""Swimmer-v5: swim forwards in a plane by bending two joints."""

import functools

import mujoco

from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.task import Definition


def swimmer(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 1e-4,
    reset_noise_scale: float = 0.1,
    exclude_current_positions_from_observation: bool = True,
) -> Definition:
    """Returns the task, with Gymnasium's options."""
    leading = 2 * int(exclude_current_positions_from_observation)
    return Definition(
        frame_skip=4,
        reset=functools.partial(locomotion.reset_uniformly, scale=reset_noise_scale),
        observe=functools.partial(locomotion.state_without, leading=leading),
        reward_terms=functools.partial(
            locomotion.forward_terms,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
        ),
        terminated=locomotion.never,
    )
