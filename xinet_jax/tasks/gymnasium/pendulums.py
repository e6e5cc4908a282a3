"""InvertedPendulum-v5 and InvertedDoublePendulum-v5: balance one pole, or two, on a cart."""

import functools

import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Bool, Float

from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.task import Definition

_FALLEN = 0.2  # angle of the single pole at which it counts as fallen [rad]
_VELOCITY_LIMIT, _FORCE_LIMIT = 10.0, 10.0


def inverted_pendulum(model: mujoco.MjModel, reset_noise_scale: float = 0.01) -> Definition:
    """Returns InvertedPendulum, with Gymnasium's options."""

    def terminated(physics: Physics) -> Bool[Array, ""]:
        return ~(jnp.abs(physics.qpos[1]) <= _FALLEN)  # so that NaN has fallen too

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        return {"reward_survive": (~terminated(after)).astype(jnp.float32)}

    return Definition(
        frame_skip=2,
        reset=functools.partial(locomotion.reset_uniformly, scale=reset_noise_scale),
        observe=functools.partial(locomotion.state_without, leading=0),
        reward_terms=reward_terms,
        terminated=terminated,
    )


def inverted_double_pendulum(
    model: mujoco.MjModel, healthy_reward: float = 10.0, reset_noise_scale: float = 0.1
) -> Definition:
    """Returns InvertedDoublePendulum, with Gymnasium's options."""

    def terminated(physics: Physics) -> Bool[Array, ""]:
        return physics.derived["site_xpos"][0, 2] <= 1.0

    def observe(physics: Physics) -> Float[Array, "9"]:
        angles = physics.qpos[1:]
        velocities = jnp.clip(physics.qvel, -_VELOCITY_LIMIT, _VELOCITY_LIMIT)
        force = jnp.clip(physics.derived["qfrc_constraint"][:1], -_FORCE_LIMIT, _FORCE_LIMIT)
        return jnp.concatenate([physics.qpos[:1], jnp.sin(angles), jnp.cos(angles), velocities, force])

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        x, _, z = after.derived["site_xpos"][0]
        return {
            "reward_survive": healthy_reward * ~terminated(after),
            "distance_penalty": -(0.01 * x**2 + (z - 2.0) ** 2),
            "velocity_penalty": -(1e-3 * after.qvel[1] ** 2 + 5e-3 * after.qvel[2] ** 2),
        }

    return Definition(
        frame_skip=5,
        reset=functools.partial(locomotion.reset_normally, scale=reset_noise_scale),
        observe=observe,
        reward_terms=reward_terms,
        terminated=terminated,
        derived=("site_xpos", "qfrc_constraint"),
    )
