"""HalfCheetah-v5: run forwards as fast as possible; never terminates."""

import functools

import mujoco

from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.task import Definition


def half_cheetah(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 0.1,
    reset_noise_scale: float = 0.1,
    exclude_current_positions_from_observation: bool = True,
) -> Definition:
    """Returns the task, with Gymnasium's options."""
    return Definition(
        frame_skip=5,
        reset=functools.partial(locomotion.reset_normally, scale=reset_noise_scale),
        observe=functools.partial(locomotion.state_without, leading=int(exclude_current_positions_from_observation)),
        reward_terms=functools.partial(
            locomotion.forward_terms,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
        ),
        terminated=locomotion.never,
    )
