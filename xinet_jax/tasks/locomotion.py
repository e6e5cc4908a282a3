"""Pieces that Gymnasium's planar runners share (HalfCheetah, Hopper, Walker2d)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xinet_jax.arrays import Key
from xinet_jax.tasks.physics import Physics


def uniform_noise(key: Key, like: Float[Array, " n"], scale: float) -> Float[Array, " n"]:
    """Returns uniform noise in [-scale, scale] of the shape of `like`."""
    return jax.random.uniform(key, like.shape, like.dtype, -scale, scale)


def forward_velocity(before: Physics, after: Physics, dt: float) -> Float[Array, ""]:
    """Returns the mean velocity along x over the step [m/s]."""
    return (after.qpos[0] - before.qpos[0]) / dt


def control_cost(control: Float[Array, " nu"], weight: float) -> Float[Array, ""]:
    """Returns the weighted sum of squared controls."""
    return weight * jnp.sum(jnp.square(control))


def observe_without_x(physics: Physics, velocity_limit: float = jnp.inf) -> Float[Array, " observation"]:
    """Returns positions but the first (the distance run, which the dynamics do not depend on), then velocities."""
    velocity = jnp.clip(physics.qvel, -velocity_limit, velocity_limit)
    return jnp.concatenate([physics.qpos[1:], velocity])


def within(value: Float[Array, ""], limits: tuple[float, float]) -> Bool[Array, ""]:
    """Returns whether `value` lies strictly between the limits."""
    return (limits[0] < value) & (value < limits[1])
