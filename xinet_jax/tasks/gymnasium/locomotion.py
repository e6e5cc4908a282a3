"""Pieces that Gymnasium's tasks share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.types import Key

Range = tuple[float, float]


def uniform_noise(key: Key, like: Float[Array, " n"], scale: float) -> Float[Array, " n"]:
    """Returns uniform noise in [-scale, scale] of the shape of `like`."""
    return jax.random.uniform(key, like.shape, like.dtype, -scale, scale)


def reset_uniformly(key: Key, at_rest: Physics, scale: float) -> Physics:
    """Returns the state at rest with uniform noise on positions and velocities."""
    key_position, key_velocity = jax.random.split(key)
    return Physics(
        at_rest.qpos + uniform_noise(key_position, at_rest.qpos, scale),
        at_rest.qvel + uniform_noise(key_velocity, at_rest.qvel, scale),
    )


def reset_normally(key: Key, at_rest: Physics, scale: float) -> Physics:
    """Returns the state at rest with uniform noise on positions and normal noise on velocities."""
    key_position, key_velocity = jax.random.split(key)
    return Physics(
        at_rest.qpos + uniform_noise(key_position, at_rest.qpos, scale),
        at_rest.qvel + scale * jax.random.normal(key_velocity, at_rest.qvel.shape),
    )


def never(physics: Physics) -> Bool[Array, ""]:
    """Says that no episode ends before its time."""
    return jnp.zeros((), bool)


def ends_unless(is_healthy: Callable[[Physics], Array], terminate_when_unhealthy: bool) -> Callable[[Physics], Array]:
    """Returns a function that says where an episode ends: where the robot is not healthy, or nowhere."""
    return (lambda physics: ~is_healthy(physics)) if terminate_when_unhealthy else never


def control_cost(control: Float[Array, " nu"], weight: float) -> Float[Array, ""]:
    """Returns the weighted sum of squared controls."""
    return weight * jnp.sum(jnp.square(control))


def forward_terms(
    before: Physics, control: Array, after: Physics, dt: float, forward_reward_weight: float, ctrl_cost_weight: float
) -> dict[str, Float[Array, ""]]:
    """Returns the reward for the mean velocity along x [m/s], and the cost of control."""
    return {
        "reward_forward": forward_reward_weight * (after.qpos[0] - before.qpos[0]) / dt,
        "reward_ctrl": -control_cost(control, ctrl_cost_weight),
    }


def state_without(physics: Physics, leading: int, velocity_limit: float = jnp.inf) -> Float[Array, " observation"]:
    """Returns positions but the `leading` ones (where the robot is, which changes no dynamics), and velocities."""
    velocity = jnp.clip(physics.qvel, -velocity_limit, velocity_limit)
    return jnp.concatenate([physics.qpos[leading:], velocity])


def within(value: Float[Array, ""], limits: Range) -> Bool[Array, ""]:
    """Returns whether `value` lies strictly between the limits."""
    return (limits[0] < value) & (value < limits[1])
