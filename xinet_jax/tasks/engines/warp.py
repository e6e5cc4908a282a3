"""MuJoCo Warp through MJX: kernels for NVIDIA's GPUs, called from the caller's compiled program. Slow on CPUs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
import warp
from jaxtyping import Array, Float

from xinet_jax.compat.mjx import fields_of, mjx, with_external_forces
from xinet_jax.tasks.engines.batching import as_one_batch
from xinet_jax.tasks.engines.mjx import with_newton
from xinet_jax.tasks.engines.physics import Engine, Physics

# Memory for contacts is shared by a batch, that for constraints is each robot's own; both are fixed beforehand.
_CONTACTS, _CONSTRAINTS = 64, 320  # of one robot; a contact makes four constraints


def warp_engine(model: mujoco.MjModel, frame_skip: int, derived: Sequence[str] = ()) -> Engine:
    """Returns an engine that runs MJX's Warp implementation, the whole batch at a time."""
    if warp.config.log_level == warp.LOG_INFO:  # its default, by which it names every kernel that it compiles
        warp.config.log_level = warp.LOG_WARNING
    model = with_newton(model)
    device_model = mjx.put_model(model, impl="warp")
    if "cfrc_ext" in derived:
        device_model = with_external_forces(device_model)

    def empty(count: int) -> mjx.Data:
        return mjx.make_data(model, impl="warp", naconmax=count * _CONTACTS, njmax=_CONSTRAINTS)

    @as_one_batch
    def steps(physics: Physics, control: Float[Array, "batch nu"]) -> Physics:
        data = empty(len(control))

        def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
            before = data.replace(qpos=physics.qpos, qvel=physics.qvel, ctrl=control)
            after = jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), before)
            return Physics(after.qpos, after.qvel, fields_of(after, derived))

        return jax.vmap(step)(physics, control)

    @as_one_batch
    def forwards(physics: Physics) -> Physics:
        data = empty(len(physics.qpos))

        def forward(physics: Physics) -> Physics:
            at_state = mjx.forward(device_model, data.replace(qpos=physics.qpos, qvel=physics.qvel))
            fields = fields_of(at_state, derived)
            if "cfrc_ext" in derived:
                fields["cfrc_ext"] = jnp.zeros_like(fields["cfrc_ext"])
            return physics._replace(derived=fields)

        return jax.vmap(forward)(physics)

    return Engine(steps, forwards if derived else lambda physics: physics, cheap_start=not derived)
