"""Reacher-v5 and Pusher-v5: bring a fingertip to a target, push an object to a goal."""

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from xinet_jax.tasks.engines.physics import Physics
from xinet_jax.tasks.gymnasium import locomotion
from xinet_jax.tasks.task import Definition
from xinet_jax.types import Key

_REST_NOISE, _VELOCITY_NOISE = 0.1, 0.005


def reacher(model: mujoco.MjModel, reward_dist_weight: float = 1.0, reward_control_weight: float = 1.0) -> Definition:
    """Returns Reacher, with Gymnasium's options. The target's place is the last two positions of the model."""
    fingertip, target = model.body("fingertip").id, model.body("target").id

    def to_target(physics: Physics) -> Float[Array, "3"]:
        return physics.derived["xpos"][fingertip] - physics.derived["xpos"][target]

    def reset(key: Key, at_rest: Physics) -> Physics:
        key_position, key_velocity, key_goal = jax.random.split(key, 3)
        qpos = at_rest.qpos + locomotion.uniform_noise(key_position, at_rest.qpos, _REST_NOISE)
        qvel = at_rest.qvel + locomotion.uniform_noise(key_velocity, at_rest.qvel, _VELOCITY_NOISE)
        # Gymnasium draws from a square until it hits the disc: the same distribution.
        goal = _in_disc(key_goal, 0.2)
        return Physics(qpos.at[-2:].set(goal), qvel.at[-2:].set(0.0))

    def observe(physics: Physics) -> Float[Array, "10"]:
        angles = physics.qpos[:2]
        parts = [jnp.cos(angles), jnp.sin(angles), physics.qpos[2:], physics.qvel[:2], to_target(physics)[:2]]
        return jnp.concatenate(parts)

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        return {
            "reward_dist": -reward_dist_weight * jnp.linalg.norm(to_target(after)),
            "reward_ctrl": -locomotion.control_cost(control, reward_control_weight),
        }

    return Definition(
        frame_skip=2,
        reset=reset,
        observe=observe,
        reward_terms=reward_terms,
        terminated=locomotion.never,
        derived=("xpos",),
        episode_length=50,
    )


def pusher(
    model: mujoco.MjModel,
    reward_near_weight: float = 0.5,
    reward_dist_weight: float = 1.0,
    reward_control_weight: float = 0.1,
) -> Definition:
    """Returns Pusher, with Gymnasium's options. The object's and the goal's places are the last four positions."""
    bodies = [model.body(name).id for name in ("tips_arm", "object", "goal")]

    def places(physics: Physics) -> Float[Array, "3 3"]:
        return physics.derived["xpos"][jnp.array(bodies)]

    def reset(key: Key, at_rest: Physics) -> Physics:
        key_object, key_velocity = jax.random.split(key)
        qvel = at_rest.qvel + locomotion.uniform_noise(key_velocity, at_rest.qvel, _VELOCITY_NOISE)
        qpos = at_rest.qpos.at[-4:-2].set(_beside_goal(key_object)).at[-2:].set(0.0)
        return Physics(qpos, qvel.at[-4:].set(0.0))

    def observe(physics: Physics) -> Float[Array, "23"]:
        return jnp.concatenate([physics.qpos[:7], physics.qvel[:7], places(physics).ravel()])

    def reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
        tips, pushed, goal = places(after)
        return {
            "reward_dist": -reward_dist_weight * jnp.linalg.norm(pushed - goal),
            "reward_ctrl": -locomotion.control_cost(control, reward_control_weight),
            "reward_near": -reward_near_weight * jnp.linalg.norm(pushed - tips),
        }

    return Definition(
        frame_skip=5,
        reset=reset,
        observe=observe,
        reward_terms=reward_terms,
        terminated=locomotion.never,
        derived=("xpos",),
        episode_length=100,
    )


def _in_disc(key: Key, radius: float) -> Float[Array, "2"]:
    key_angle, key_radius = jax.random.split(key)
    angle = jax.random.uniform(key_angle, (), maxval=2 * jnp.pi)
    distance = radius * jnp.sqrt(jax.random.uniform(key_radius, ()))
    return distance * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def _beside_goal(key: Key) -> Float[Array, "2"]:
    """Returns a place in [-0.3, 0] × [-0.2, 0.2] at least 0.17 m from the goal: the first of 32 draws that is.

    Once in 10^13 times none is, and the first is taken.
    """
    low, high = jnp.array([-0.3, -0.2]), jnp.array([0.0, 0.2])
    places = jax.random.uniform(key, (32, 2), minval=low, maxval=high)
    return places[jnp.argmax(jnp.linalg.norm(places, axis=1) > 0.17)]
