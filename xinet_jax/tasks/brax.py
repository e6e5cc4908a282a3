"""Brax's own tasks, with its own physics: `brax/ant` and the others.

Freeman et al. 2021, Brax: a differentiable physics engine for large scale rigid body simulation, arXiv 2106.13281.
"""

import typing
import warnings
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array

from xinet_jax.tasks.borrowed import Library, Sizes, borrow
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.task import Task

_Backend = Literal["generalized", "positional", "spring", "mjx"]
BACKENDS: tuple[str, ...] = typing.get_args(_Backend)


def _make(name: str, backend: _Backend = "generalized") -> Task:
    from brax import envs

    with quiet_deprecations(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of its tasks that they are not kept up, which docs/tasks.md says too
        environment = envs.get_environment(name, backend=backend)

    def motion(state: object) -> tuple[Array, Array, Array]:
        return state.pipeline_state.q, state.pipeline_state.qd, jnp.zeros((0, 3))

    length, options = BRAX.tasks[name].episode_length, {"backend": backend}
    return borrow(f"brax/{name}", environment, environment.sys.mj_model, motion, length, options)


# Without its swimmer: the one back end that has it calls NumPy's `clip` by a name that JAX no longer knows.
BRAX = Library(
    "brax",
    "brax",
    "brax",
    {
        "ant": Sizes(27, 8, 0.05),
        "halfcheetah": Sizes(17, 6, 0.05),
        "hopper": Sizes(11, 3, 0.008),
        "humanoid": Sizes(244, 17, 0.015),
        "humanoidstandup": Sizes(244, 17, 0.015),
        "inverted_pendulum": Sizes(4, 1, 0.04),
        "inverted_double_pendulum": Sizes(8, 1, 0.02),
        "pusher": Sizes(23, 7, 0.05),
        "reacher": Sizes(11, 2, 0.02),
        "walker2d": Sizes(17, 6, 0.008),
    },
    _make,
)
