"""What a task asks of a physics engine, whichever it is.

An engine is a pure function from a physical state and a control to the state one control step later. Solver warm starts
are cleared at each control step, so nothing but positions and velocities has to be carried, stored or compared.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

from xinet_jax.errors import unknown_name
from xinet_jax.tasks.names import ENGINES, check_implementation


class Physics(NamedTuple):
    """The state of a MuJoCo model.

    Attributes:
      qpos: generalised positions [m, rad], `[nq]`.
      qvel: generalised velocities [m/s, rad/s], `[nv]`.
      derived: what the engine computes on the way, for those fields of MuJoCo's data that a task asks for. As in
        Gymnasium they are left as the last simulation step left them: most are those of the state that it began with.
    """

    qpos: Float[Array, "*batch nq"]
    qvel: Float[Array, "*batch nv"]
    derived: dict[str, Float[Array, "..."]] = {}  # noqa: RUF012


class PhysicalState(Protocol):
    """A physical state: ours (`Physics`), or that of another library (`xinet_jax.tasks.libraries.borrowed`)."""

    @property
    def qpos(self) -> Float[Array, "*batch nq"]: ...

    @property
    def qvel(self) -> Float[Array, "*batch nv"]: ...


class Failure(NamedTuple):
    """An exception inside an environment.

    Attributes:
      summary: in one line.
      trace: its traceback.
    """

    summary: str
    trace: str


class Host(Protocol):
    """Environments on the host.

    Attributes:
      failure: the first exception in one of them, if there was one.
    """

    failure: Failure | None

    def close(self) -> None: ...


class Engine(NamedTuple):
    """A physics engine for one model: functions of `Physics`, or of another library's states.

    Attributes:
      step: advances a state by one control step, `frame_skip` steps of the model's time step under one control, `[nu]`.
      forward: fills in what a state alone implies, as at a reset: no contact forces have acted yet.
      cheap_start: whether an episode's first state takes no physics, so that it may be computed at every step.
      begin, finish: `step` in two, where the host may compute while the device goes on: `begin(state, control)` returns
        an array that `finish(state, control, begun)` takes, `[1]`.
      restart: from a state that ended an episode to the first of the next; None: episodes begin by the task's `reset`.
      host: environments on the host, whose state no program can restore; None where states are all there is.
    """

    step: Callable[[Any, Array], Any]
    forward: Callable[[Any], Any]
    cheap_start: bool = False
    begin: Callable[[Any, Array], Array] = lambda state, control: jnp.zeros(1)
    finish: Callable[[Any, Array, Array], Any] | None = None
    restart: Callable[[Any], Any] | None = None
    host: Host | None = None


# Fields of MuJoCo's data that tasks may ask for. At a reset, external forces are zero.
DERIVED = ("xpos", "xipos", "site_xpos", "cinert", "cvel", "qfrc_actuator", "qfrc_constraint", "cfrc_ext")


def default_engine() -> str:
    """Returns `native` where JAX computes on CPUs or GPUs, and `mjx` elsewhere.

    On a GPU the host's cores step the physics while the device updates (docs: scaling, physics).
    """
    return "native" if jax.default_backend() in ("cpu", "gpu") else "mjx"


def make_engine(
    name: str, model: mujoco.MjModel, frame_skip: int, derived: Sequence[str] = (), mjx_impl: str = "jax"
) -> Engine:
    """Returns an engine for one model.

    Args:
      name: `mjx`, `native`, or `auto` for `default_engine()`.
      model: the compiled MuJoCo model.
      frame_skip: simulation steps per control step.
      derived: the names of `Physics.derived`, of `DERIVED`.
      mjx_impl: which of MJX's implementations: `jax`, or `warp` (MuJoCo Warp, for NVIDIA's GPUs).

    Raises:
      UserError: for an unknown name, or an implementation of MJX for another engine.
    """
    name = default_engine() if name == "auto" else name
    check_implementation(name, mjx_impl)
    for field in derived:
        if field not in DERIVED:
            raise unknown_name("field of MuJoCo's data", field, DERIVED)
    if name == "native":
        from xinet_jax.tasks.engines.native import native_engine

        return native_engine(model, frame_skip, derived)
    if name == "mjx":
        if mjx_impl == "warp":
            from xinet_jax.tasks.engines.warp import warp_engine

            return warp_engine(model, frame_skip, derived)
        from xinet_jax.tasks.engines.mjx import mjx_engine

        return mjx_engine(model, frame_skip, derived)
    raise unknown_name("engine", name, ENGINES[:3])
