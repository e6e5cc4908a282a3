"""Predicts what a run needs of each device's memory, before anything is compiled."""

import ctypes
import gc
import sys
from pathlib import Path
from typing import NamedTuple

import jax

from xinet_jax.agent.replay import MORE, Buffer
from xinet_jax.agent.state import Agent
from xinet_jax.errors import UserError
from xinet_jax.networks.complexity import dense_totals

# Copies of a minibatch's activations that XLA keeps at a time, with pruning and without: at most this many of all
# hidden units, by its own count of compiled programs (tests/training/test_memory.py). Pruning reads several minibatches
# at once.
_ACTIVATIONS_WITH_PRUNING, _ACTIVATIONS = 4 * MORE, 5
_OF_FEATURES = 6
_GRADIENTS = 2  # copies of the parameters beside the state: gradients and Adam's directions
_MOMENTS = 2  # of Adam, for every parameter
_GATES = 3  # theta, alive mask and original place of every gated unit
_FLOAT = 4


class Memory(NamedTuple):
    """Bytes that one member needs.

    Attributes:
      replay: its replay.
      agent: parameters, target critics, Adam's moments, gates, statistics.
      working: what an update needs beside them.
    """

    replay: int
    agent: int
    working: int

    @property
    def total(self) -> int:
        """Bytes of one member together."""
        return self.replay + self.agent + self.working

    @property
    def copied(self) -> int:
        """Bytes of one member on the host while a checkpoint is written, at most."""
        return self.replay + self.agent


def predict(agent: Agent, buffer: Buffer) -> Memory:
    """Returns the bytes that one member needs while it trains. From the sizes alone: no array is made.

    Args:
      agent: the agent.
      buffer: the sizes of its replay and minibatches.
    """
    shape, capacity, batch_size = agent.networks.shape, buffer.capacity, buffer.batch_size
    replay = buffer.envs * (buffer.rows * shape.observation + capacity * (shape.action + 2)) * _FLOAT
    totals, gated = dense_totals(shape), {"actor": sum(shape.actor_hidden), "critic": 2 * sum(shape.critic_hidden)}
    gated["ofenet"] = sum(shape.state_blocks) + sum(shape.action_blocks)
    parameters = sum(totals.values()) * _FLOAT
    targets, statistics = totals["critic"] * _FLOAT, 2 * gated["ofenet"] * _FLOAT
    gates = _GATES * sum(gated[name] for name in agent.gated) * _FLOAT
    state = (1 + _MOMENTS) * parameters + targets + statistics + gates
    units = shape.state_features + shape.action_features + sum(shape.actor_hidden) + 2 * sum(shape.critic_hidden)
    copies, square = _ACTIVATIONS, 0
    if agent.pruner != "none":
        # Substitutes are square matrices of a group's widest layer, for target critics too; stacked, and taken apart.
        copies, heads = _ACTIVATIONS_WITH_PRUNING, (*shape.actor_hidden, *4 * shape.critic_hidden)
        blocks = (*shape.state_blocks, *shape.action_blocks)
        square = 2 * sum(len(layers) * max(layers, default=0) ** 2 for layers in (heads, blocks))
        if "ofenet" in agent.gated:  # one for all features together, and what conjugate gradients work with
            square += _OF_FEATURES * shape.action_features**2
    return Memory(replay, state, _GRADIENTS * parameters + (copies * batch_size * units + square) * _FLOAT)


def available(device: jax.Device) -> int | None:
    """Returns the bytes that a device can give to this process now, all CPU devices together; None if unknown."""
    if device.platform == "cpu":
        try:
            sizes = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
            return min([int(sizes["MemAvailable"].split()[0]) * 1024, *_container_limit()])
        except (OSError, KeyError, ValueError, IndexError):
            return None
    statistics = device.memory_stats() or {}
    if "bytes_limit" not in statistics:
        return None
    return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)


def _container_limit() -> list[int]:
    """Returns what is left below the limit of this process's container, if there is one (cgroup, version 2)."""
    try:
        limit, used, rest = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current", "stat"))
        files = dict(line.split() for line in rest.splitlines())["inactive_file"]  # given up when memory is short
        return [] if limit.strip() == "max" else [int(limit) - int(used) + int(files)]
    except (OSError, ValueError, KeyError):
        return []


def check_fits(needed: Memory, members: int, device: jax.Device, devices: int) -> None:
    """Refuses a run that cannot fit.

    Args:
      needed: bytes of one member.
      members: members in the arrays of all devices.
      device: one of the devices.
      devices: how many there are; CPU devices share one memory, others have their own.

    Raises:
      UserError: if the devices' memory is too small, with the numbers.
    """
    free = available(device)
    each = members if device.platform == "cpu" else members // devices
    if free is None or each * (needed.total + needed.copied * (device.platform == "cpu")) <= free:
        return
    where = "this machine" if device.platform == "cpu" else f"each {device.platform} device"
    raise UserError(
        f"not enough memory: {describe(needed, each)}, and {where} has {size_text(free)}; "
        f"choose fewer seeds or values of nu, smaller networks, or a smaller replay_capacity or batch_size"
    )


def describe(needed: Memory, members: int) -> str:
    """Returns what members need together, in words."""
    parts = (
        f"{size_text(needed.replay)} replay, {size_text(needed.agent)} agent, {size_text(needed.working)} working space"
    )
    count = "1 member needs" if members == 1 else f"{members} members need"
    copied = f"at checkpoints {size_text(members * needed.copied)} more on the host"
    return f"{count} about {size_text(members * needed.total)} ({parts} each), {copied}"


def size_text(count: int | float) -> str:
    """Returns a number of bytes, in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def give_back() -> None:
    """Gives memory that is no longer used back to the system, as compilers leave much behind (glibc alone)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)
