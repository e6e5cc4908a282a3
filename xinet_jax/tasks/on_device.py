"""MuJoCo on the accelerator: MJX, with no host in the loop."""

import contextlib
import io

import jax
import mujoco
from jaxtyping import Array, Float

with contextlib.redirect_stdout(io.StringIO()):  # it prints that its optional back end, Warp, is not installed
    from mujoco import mjx

from xinet_jax.tasks.physics import Engine, Physics


def mjx_engine(model: mujoco.MjModel, frame_skip: int) -> Engine:
    """Returns an engine that runs MJX's JAX implementation inside the caller's compiled program."""
    device_model = mjx.put_model(model, impl="jax")
    at_rest = mjx.make_data(model, impl="jax")

    def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
        data = at_rest.replace(qpos=physics.qpos, qvel=physics.qvel, ctrl=control)
        data = jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), data)
        return Physics(data.qpos, data.qvel)

    return step
