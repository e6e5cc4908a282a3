"""Hopper-v5 and Walker2d-v5: run forwards without falling. They differ in model and in what counts as healthy."""

import functools

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Bool, Float

from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.gymnasium.locomotion import Range, within
from xinet_jax.tasks.task import Definition

_VELOCITY_LIMIT = 10.0


def hopper(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 1e-3,
    healthy_reward: float = 1.0,
    terminate_when_unhealthy: bool = True,
    healthy_state_range: Range = (-100.0, 100.0),
    healthy_z_range: Range = (0.7, jnp.inf),
    healthy_angle_range: Range = (-0.2, 0.2),
    reset_noise_scale: float = 5e-3,
    exclude_current_positions_from_observation: bool = True,
) -> Definition:
    """Returns Hopper, with Gymnasium's options. Ranges are open: torso height [m], torso angle [rad], all else."""

    def is_healthy(physics: Physics) -> Bool[Array, ""]:
        state, (low, high) = jnp.concatenate([physics.qpos[2:], physics.qvel]), healthy_state_range
        upright = within(physics.qpos[1], healthy_z_range) & within(physics.qpos[2], healthy_angle_range)
        return upright & jnp.all((low < state) & (state < high))

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        terms = locomotion.forward_terms(before, control, after, dt, forward_reward_weight, ctrl_cost_weight)
        return terms | {"reward_survive": healthy_reward * is_healthy(after)}

    return Definition(
        frame_skip=4,
        reset=functools.partial(locomotion.reset_uniformly, scale=reset_noise_scale),
        observe=functools.partial(
            locomotion.state_without,
            leading=int(exclude_current_positions_from_observation),
            velocity_limit=_VELOCITY_LIMIT,
        ),
        reward_terms=reward_terms,
        terminated=locomotion.ends_unless(is_healthy, terminate_when_unhealthy),
    )


def walker2d(
    model: mujoco.MjModel,
    forward_reward_weight: float = 1.0,
    ctrl_cost_weight: float = 1e-3,
    healthy_reward: float = 1.0,
    terminate_when_unhealthy: bool = True,
    healthy_z_range: Range = (0.8, 2.0),
    healthy_angle_range: Range = (-1.0, 1.0),
    reset_noise_scale: float = 5e-3,
    exclude_current_positions_from_observation: bool = True,
) -> Definition:
    """Returns Walker2d, with Gymnasium's options."""
    return hopper(
        model,
        forward_reward_weight,
        ctrl_cost_weight,
        healthy_reward,
        terminate_when_unhealthy,
        (-jnp.inf, jnp.inf),
        healthy_z_range,
        healthy_angle_range,
        reset_noise_scale,
        exclude_current_positions_from_observation,
    )
