"""Brax's own tasks, with its own physics: `brax/ant` and the others.

Freeman et al. 2021, Brax: a differentiable physics engine for large scale rigid body simulation, arXiv 2106.13281.
"""

import warnings

import jax.numpy as jnp
from jaxtyping import Array

from xinet_jax.tasks.catalogue import BRAX
from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.libraries.borrowed import borrow
from xinet_jax.tasks.names import BraxBackend
from xinet_jax.tasks.task import Task


def make(name: str, backend: BraxBackend = "generalized") -> Task:
    """Returns one of Brax's tasks, by Brax's name, on one of its back ends."""
    from brax import envs

    with quiet_deprecations(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of its tasks that they are not kept up, which docs/tasks.md says too
        environment = envs.get_environment(name, backend=backend)

    def motion(state: object) -> tuple[Array, Array, Array]:
        return state.pipeline_state.q, state.pipeline_state.qd, jnp.zeros((0, 3))

    length, options = BRAX.tasks[name].episode_length, {"backend": backend}
    return borrow(f"brax/{name}", environment, environment.sys.mj_model, motion, length, options)
