"""What a task asks of a physics engine, whichever it is.

An engine is a pure function from a physical state and a control to the state one control step later. Solver warm starts
are cleared at each control step, so nothing but positions and velocities has to be carried, stored or compared.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import mujoco
from jaxtyping import Array, Float

from xinet_jax.errors import unknown_name


class Physics(NamedTuple):
    """The state of a MuJoCo model.

    Attributes:
      qpos: generalised positions [m, rad], `[nq]`.
      qvel: generalised velocities [m/s, rad/s], `[nv]`.
    """

    qpos: Float[Array, "*batch nq"]
    qvel: Float[Array, "*batch nv"]


# Advances one state by one control step: `frame_skip` steps of the model's time step under one control, `[nu]`.
Engine = Callable[[Physics, Array], Physics]


ENGINES = ("auto", "mjx", "native")


def default_engine() -> str:
    """Returns `native` where JAX computes on the CPU and `mjx` where it has an accelerator."""
    return "native" if jax.default_backend() == "cpu" else "mjx"


def make_engine(name: str, model: mujoco.MjModel, frame_skip: int) -> Engine:
    """Returns an engine for one model.

    Args:
      name: `mjx`, `native`, or `auto` for `default_engine()`.
      model: the compiled MuJoCo model.
      frame_skip: simulation steps per control step.

    Raises:
      UserError: for an unknown name.
    """
    name = default_engine() if name == "auto" else name
    if name == "native":
        from xinet_jax.tasks.native import native_engine

        return native_engine(model, frame_skip)
    if name == "mjx":
        from xinet_jax.tasks.on_device import mjx_engine

        return mjx_engine(model, frame_skip)
    raise unknown_name("engine", name, ENGINES)
