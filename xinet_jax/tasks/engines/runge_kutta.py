"""The fourth-order Runge-Kutta method for MJX, as a loop.

MJX's own writes the four evaluations of the forces out one after the other, and XLA compiles the largest part of a step
four times. Here it compiles it once. The numbers are the same (tests/test_tasks.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xinet_jax.compat.mjx import mjx, quat_integrate

# From the start to a stage along the derivative of the stage before, and a stage's weight in the step.
_FRACTIONS, _WEIGHTS = (0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)


def runge_kutta_step(model: mjx.Model, data: mjx.Data) -> mjx.Data:
    """Returns the state a time step later. As in MuJoCo, derived quantities are those of the last stage.

    Args:
      model: without actuator activations.
      data: the state; its `qacc` must be finite.
    """
    start, dt = data, model.opt.timestep

    def stage(index: Array, carry: tuple[mjx.Data, Array, Array]) -> tuple[mjx.Data, Array, Array]:
        before, velocity, acceleration = carry
        ahead = jnp.array(_FRACTIONS)[index] * dt
        qpos, qvel = _move(model, start.qpos, before.qvel, ahead), start.qvel + ahead * before.qacc
        data = mjx.forward(model, before.replace(qpos=qpos, qvel=qvel))
        weight = jnp.array(_WEIGHTS)[index]
        return data, velocity + weight * qvel, acceleration + weight * data.qacc

    nothing = jnp.zeros_like(start.qvel)
    last, velocity, acceleration = jax.lax.fori_loop(0, len(_WEIGHTS), stage, (start, nothing, nothing))
    return last.replace(
        qpos=_move(model, start.qpos, velocity, dt),
        qvel=start.qvel + dt * acceleration,
        time=start.time + dt,
        qacc_warmstart=last.qacc,
    )


def _move(model: mjx.Model, qpos: Float[Array, " nq"], qvel: Float[Array, " nv"], dt: Array) -> Float[Array, " nq"]:
    """Returns positions after a time at constant velocities; orientations turn along the sphere of quaternions."""
    moved, q, v = [], 0, 0
    for kind in model.jnt_type:
        if kind == mjx.JointType.FREE:
            moved.append(qpos[q : q + 3] + dt * qvel[v : v + 3])
            q, v = q + 3, v + 3
        if kind in (mjx.JointType.FREE, mjx.JointType.BALL):
            moved.append(quat_integrate(qpos[q : q + 4], qvel[v : v + 3], dt))
            q, v = q + 4, v + 3
        else:
            moved.append(qpos[q : q + 1] + dt * qvel[v : v + 1])
            q, v = q + 1, v + 1
    return jnp.concatenate(moved)
