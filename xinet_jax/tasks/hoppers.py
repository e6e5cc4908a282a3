"""Hopper-v5 and Walker2d-v5: run forwards without falling. They differ in model and in what counts as healthy."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xinet_jax.arrays import Key
from xinet_jax.tasks.locomotion import control_cost, forward_velocity, observe_without_x, uniform_noise, within
from xinet_jax.tasks.physics import Physics
from xinet_jax.tasks.task import Definition

_RESET_NOISE = 5e-3
_CONTROL_COST = 1e-3
_HEALTHY_REWARD = 1.0
_VELOCITY_LIMIT = 10.0


class _Healthy(NamedTuple):
    """Open intervals: torso height [m], torso angle [rad], and every state after the first two."""

    height: tuple[float, float]
    angle: tuple[float, float]
    state: tuple[float, float]


_HOPPER = _Healthy(height=(0.7, jnp.inf), angle=(-0.2, 0.2), state=(-100.0, 100.0))
_WALKER = _Healthy(height=(0.8, 2.0), angle=(-1.0, 1.0), state=(-jnp.inf, jnp.inf))


def _is_healthy(healthy: _Healthy, physics: Physics) -> Bool[Array, ""]:
    state = jnp.concatenate([physics.qpos[2:], physics.qvel])
    return (
        within(physics.qpos[1], healthy.height)
        & within(physics.qpos[2], healthy.angle)
        & jnp.all((healthy.state[0] < state) & (state < healthy.state[1]))
    )


def _terminated(healthy: _Healthy, physics: Physics) -> Bool[Array, ""]:
    return ~_is_healthy(healthy, physics)


def _reset(key: Key, at_rest: Physics) -> Physics:
    key_position, key_velocity = jax.random.split(key)
    return Physics(
        at_rest.qpos + uniform_noise(key_position, at_rest.qpos, _RESET_NOISE),
        at_rest.qvel + uniform_noise(key_velocity, at_rest.qvel, _RESET_NOISE),
    )


def _reward_terms(
    healthy: _Healthy, before: Physics, control: Array, after: Physics, dt: float
) -> dict[str, Float[Array, ""]]:
    return {
        "reward_forward": forward_velocity(before, after, dt),
        "reward_ctrl": -control_cost(control, _CONTROL_COST),
        "reward_survive": _HEALTHY_REWARD * _is_healthy(healthy, after),
    }


def _definition(xml: str, observation_size: int, healthy: _Healthy) -> Definition:
    return Definition(
        xml=xml,
        frame_skip=4,
        observation_size=observation_size,
        reset=_reset,
        observe=functools.partial(observe_without_x, velocity_limit=_VELOCITY_LIMIT),
        reward_terms=functools.partial(_reward_terms, healthy),
        terminated=functools.partial(_terminated, healthy),
    )


HOPPER = _definition("hopper.xml", 11, _HOPPER)
WALKER2D = _definition("walker2d_v5.xml", 17, _WALKER)
