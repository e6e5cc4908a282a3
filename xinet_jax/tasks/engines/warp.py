"""MuJoCo Warp through MJX: kernels for NVIDIA's GPUs, called from the caller's compiled program. Slow on CPUs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
import warp
from jaxtyping import Array, Float

from xinet_jax.tasks.engines.batching import as_one_batch
from xinet_jax.tasks.engines.mjx import mjx, with_newton
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
        device_model = device_model.tree_replace({"opt._impl.run_rne_postconstraint": True})

    def empty(count: int) -> mjx.Data:
        return mjx.make_data(model, impl="warp", naconmax=count * _CONTACTS, njmax=_CONSTRAINTS)

    def read(data: mjx.Data) -> dict[str, Array]:
        return {name: getattr(data, name) if hasattr(data, name) else getattr(data._impl, name) for name in derived}

    @as_one_batch
    def steps(physics: Physics, control: Float[Array, "batch nu"]) -> Physics:
        data = empty(len(control))

        def step(physics: Physics, control: Float[Array, " nu"]) -> Physics:
            own = data.replace(qpos=physics.qpos, qvel=physics.qvel, ctrl=control)
            own = jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), own)
            return Physics(own.qpos, own.qvel, read(own))

        return jax.vmap(step)(physics, control)

    @as_one_batch
    def forwards(physics: Physics) -> Physics:
        data = empty(len(physics.qpos))

        def forward(physics: Physics) -> Physics:
            found = read(mjx.forward(device_model, data.replace(qpos=physics.qpos, qvel=physics.qvel)))
            if "cfrc_ext" in derived:
                found["cfrc_ext"] = jnp.zeros_like(found["cfrc_ext"])
            return physics._replace(derived=found)

        return jax.vmap(forward)(physics)

    return Engine(steps, forwards if derived else lambda physics: physics)
