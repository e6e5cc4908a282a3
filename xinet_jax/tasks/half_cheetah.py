"""HalfCheetah-v5: run forwards as fast as possible; never terminates."""

import functools

import mujoco
from jaxtyping import Array, Float

from xinet_jax.tasks import locomotion
from xinet_jax.tasks.physics import Physics
from xinet_jax.tasks.task import Definition


def half_cheetah(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 0.1,
    reset_noise_scale: float = 0.1,
    exclude_current_positions_from_observation: bool = True,
) -> Definition:
    """Returns the task, with Gymnasium's options."""

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        return {
            "reward_forward": forward_reward_weight * (after.qpos[0] - before.qpos[0]) / dt,
            "reward_ctrl": -locomotion.control_cost(control, ctrl_cost_weight),
        }

    return Definition(
        frame_skip=5,
        reset=functools.partial(locomotion.reset_normally, scale=reset_noise_scale),
        observe=functools.partial(locomotion.state_without, leading=int(exclude_current_positions_from_observation)),
        reward_terms=reward_terms,
        terminated=locomotion.never,
    )
