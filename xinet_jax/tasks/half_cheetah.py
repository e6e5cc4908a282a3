"""HalfCheetah-v5: run forwards as fast as possible; never terminates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xinet_jax.arrays import Key
from xinet_jax.tasks.locomotion import control_cost, forward_velocity, observe_without_x, uniform_noise
from xinet_jax.tasks.physics import Physics
from xinet_jax.tasks.task import Definition

_RESET_NOISE = 0.1
_CONTROL_COST = 0.1


def _reset(key: Key, at_rest: Physics) -> Physics:
    key_position, key_velocity = jax.random.split(key)
    velocity_noise = _RESET_NOISE * jax.random.normal(key_velocity, at_rest.qvel.shape)
    return Physics(
        at_rest.qpos + uniform_noise(key_position, at_rest.qpos, _RESET_NOISE), at_rest.qvel + velocity_noise
    )


def _reward_terms(before: Physics, control: Array, after: Physics, dt: float) -> dict[str, Float[Array, ""]]:
    return {
        "reward_forward": forward_velocity(before, after, dt),
        "reward_ctrl": -control_cost(control, _CONTROL_COST),
    }


def _terminated(physics: Physics) -> Bool[Array, ""]:
    return jnp.zeros((), bool)


HALF_CHEETAH = Definition(
    xml="half_cheetah.xml",
    frame_skip=5,
    observation_size=17,
    reset=_reset,
    observe=observe_without_x,
    reward_terms=_reward_terms,
    terminated=_terminated,
)
