"""Spreads members over devices. Members never talk to each other, so every device runs the same program on its own."""

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xinet_jax.cores import available_cores
from xinet_jax.errors import UserError

Tree = Any
T = TypeVar("T")

AXIS = "members"
SPREAD = PartitionSpec(AXIS)  # the leading axis, one slice for each device
EVERYWHERE = PartitionSpec()  # the same on every device


def claim_cores(devices: int | None, members: int) -> None:
    """Makes CPU devices of one thread each, as many as members can use: a core is worth more to members of its own than
    to a program that has one already (benchmarks/devices.py).

    It has to come before JAX computes anything, and does nothing later. Accelerators are left as they are.

    Args:
      devices: how many at most; None for one per core.
      members: number of members.
    """
    count = min(devices or available_cores(), members)
    if count < 2:
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # the devices are there already, and are what they are
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:  # what the user has set stays
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def make_mesh(devices: int | None, members: int) -> Mesh:
    """Returns the devices that members are spread over, as a mesh of one axis.

    Args:
      devices: how many of this process's devices to use; None for all.
      members: number of members. No more devices are used than leave each as few members as all of them would.

    Raises:
      UserError: if there are not so many devices.
    """
    own = jax.local_devices()
    if devices is not None and devices > len(own) and members > len(own):
        kind = own[0].platform.upper()
        raise UserError(
            f"devices must be at most {len(own)}, the number of {kind} devices that JAX was started with, not {devices}"
        )
    rounds = -(-members // min(devices or len(own), len(own)))
    return Mesh(np.array(own[: -(-members // rounds)]), (AXIS,))  # no more than that many rounds need


def padded(members: Sequence[T], mesh: Mesh) -> list[T]:
    """Returns the members with the last one again and again, until there are as many for every device."""
    return [*members, *[members[-1]] * (-len(members) % mesh.size)]


def place(tree: Tree, mesh: Mesh) -> Tree:
    """Returns arrays with a leading member axis, spread over the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, SPREAD))
