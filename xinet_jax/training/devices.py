"""Spreads members over devices. Members never talk to each other, so every device runs the same program on its own."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xinet_jax.compat.xla import jit_options
from xinet_jax.cores import available_cores
from xinet_jax.errors import UserError, brief
from xinet_jax.types import DEVICE_AXIS, Tree

T = TypeVar("T")

SPREAD = PartitionSpec(DEVICE_AXIS)  # the leading axis, one slice for each device
EVERYWHERE = PartitionSpec()  # the same on every device


def claim_cores(devices: int | None, members: int) -> None:
    """Makes CPU devices of one thread each, as many as members can use: a core is worth more to members of its own than
    to a program that has one already (benchmarks/devices.py).

    It starts JAX, has to come before anything else does, and does nothing later. Accelerators are left as they are.

    Args:
      devices: how many at most; None for one per core.
      members: number of members.

    Raises:
      UserError: if JAX does not start.
    """
    count = min(devices or available_cores(), members)
    if count > 1:
        try:
            jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:  # the devices are there already, and are what they are
            return
    before = os.environ.get("XLA_FLAGS")
    if count < 2 or "xla_cpu_multi_thread_eigen" in (before or ""):  # what the user has set stays
        start_jax()
        return
    _check_xla_flags()
    os.environ["XLA_FLAGS"] = f"{before or ''} --xla_cpu_multi_thread_eigen=false".strip()
    try:
        start_jax()
    finally:  # XLA has read it; processes that are started later must not
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def start_jax() -> None:
    """Starts JAX on its devices, if that has not been done.

    XLA itself ends the process, with an explanation, for flags in `XLA_FLAGS` that it does not know.

    Raises:
      UserError: if it does not start, with the platforms that were tried.
    """
    _check_xla_flags()
    try:
        jax.devices()
    except Exception as error:  # of whatever kind: every plug-in of JAX has its own
        tried = jax.config.jax_platforms
        where = f"on platform {tried} (JAX_PLATFORMS)" if tried else "on any platform"
        nothing = f"no such device, or its plug-in is missing ({type(error).__name__})"
        reason = (str(error).splitlines() or [""])[0] or nothing
        raise UserError(f"JAX does not start {where}: {reason[:300]}") from None


def _check_xla_flags() -> None:
    """Raises UserError for `XLA_FLAGS` that are neither flags nor a file of them: XLA would end the process."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if flags and not flags.startswith("-") and not Path(flags).is_file():
        raise UserError(f"XLA_FLAGS must be flags, each with -- before it, or a file of them, not {brief(flags)}")


def make_mesh(devices: int | None, members: int) -> Mesh:
    """Returns the devices that members are spread over, as a mesh of one axis.

    Args:
      devices: how many of this process's devices to use; None for all.
      members: number of members. No more devices are used than leave each as few members as all of them would.

    Raises:
      UserError: if there are not so many devices.
    """
    local = jax.local_devices()
    if devices is not None and devices > len(local) and members > len(local):
        kind = local[0].platform.upper()
        raise UserError(
            f"devices must be at most {len(local)}, the number of {kind} devices that JAX was started with, "
            f"not {devices}"
        )
    rounds = -(-members // min(devices or len(local), len(local)))
    return Mesh(np.array(local[: -(-members // rounds)]), (DEVICE_AXIS,))  # no more than that many rounds need


def pad(members: Sequence[T], mesh: Mesh) -> list[T]:
    """Returns the members with the last one again and again, until there are as many for every device."""
    return [*members, *[members[-1]] * (-len(members) % mesh.size)]


def unpad(leaf: jax.Array | np.ndarray, members: int) -> np.ndarray:
    """Returns the first `members` rows of an array on the host. It waits for the device."""
    return np.asarray(leaf)[:members]


def spread(tree: Tree, mesh: Mesh) -> Tree:
    """Returns arrays with a leading member axis, spread over the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, SPREAD))


def on_every_device(
    function: Callable, mesh: Mesh, of_members: tuple[bool, ...], donated: int | None = None
) -> Callable:
    """Returns a function, jitted, that every device of a mesh runs with its own members.

    Args:
      function: what to run. Its results have a leading member axis.
      mesh: the devices.
      of_members: for each argument, whether it has a leading member axis; if not, it is the same on every device.
      donated: the argument whose memory the results take.
    """
    specs = tuple(SPREAD if spread_out else EVERYWHERE for spread_out in of_members)

    def on_device(*arguments: Any) -> Any:
        # JAX's default on accelerators is less than float32: not good enough for physics.
        with jax.default_matmul_precision("highest"):
            return function(*arguments)

    # Nothing is replicated that JAX would have to keep in step, so it need not check for it.
    everywhere = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=SPREAD, check_vma=False)
    everywhere.__name__ = function.__name__
    return jax.jit(everywhere, donate_argnums=donated, **jit_options(mesh.devices.flat[0].platform))
