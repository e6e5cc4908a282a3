"""MuJoCo on the accelerator: MJX, with no host in the loop."""

import copy
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from xinet_jax.compat.mjx import fields_of, mjx
from xinet_jax.tasks.engines.physics import Engine, Physics
from xinet_jax.tasks.engines.runge_kutta import runge_kutta_step


def mjx_engine(model: mujoco.MjModel, frame_skip: int, derived: Sequence[str] = ()) -> Engine:
    """Returns an engine that runs MJX's JAX implementation inside the caller's compiled program."""
    model = with_newton(model)
    device_model = mjx.put_model(model, impl="jax")
    at_rest = mjx.make_data(model, impl="jax")

    advance = runge_kutta_step if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4 else mjx.step

    def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
        data = at_rest.replace(qpos=physics.qpos, qvel=physics.qvel, ctrl=control)
        data = jax.lax.fori_loop(0, frame_skip, lambda _, d: advance(device_model, d), data)
        if "cfrc_ext" in derived:
            data = mjx.rne_postconstraint(device_model, data)
        return Physics(data.qpos, data.qvel, fields_of(data, derived))

    def forward(physics: Physics) -> Physics:
        if not derived:
            return physics
        data = at_rest.replace(qpos=physics.qpos, qvel=physics.qvel)
        # Constraints are solved only where they are read: compiling the solver takes long.
        if "qfrc_constraint" in derived:
            data = mjx.forward(device_model, data)
        else:
            data = mjx.fwd_velocity(device_model, mjx.fwd_position(device_model, data))
        fields = fields_of(data, derived)
        if "cfrc_ext" in derived:
            fields["cfrc_ext"] = jnp.zeros_like(fields["cfrc_ext"])
        return physics._replace(derived=fields)

    return Engine(step, forward)


def with_newton(model: mujoco.MjModel) -> mujoco.MjModel:
    """Returns a model with Newton's solver in place of PGS, which MJX lacks (docs/tasks.md has what that changes)."""
    if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        model = copy.copy(model)
        model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return model
