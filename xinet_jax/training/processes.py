"""Runs of several processes, one or more per host: each trains some of the members and writes to one run folder.

Members never talk to each other, so JAX's distributed runtime only says who is there, passes a few words at the start
and lets everyone wait for the last at the end. Every device array is a process's own.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import jax

from xinet_jax.compat.jax import coordinator, wait_for_live_processes
from xinet_jax.errors import UserError

T = TypeVar("T")

_PATIENCE = 300_000  # [ms]


def join(requested: bool) -> None:
    """Joins the other processes of a run. It has to come before JAX computes anything.

    Where they are is read from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`, or from what Slurm,
    Open MPI, Kubernetes and TPU pods say to the processes that they start.

    Args:
      requested: whether to, even if the environment does not say that there are several.

    Raises:
      UserError: if the environment does not say enough, or the coordinator does not answer.
    """
    if jax.distributed.is_initialized() or not (requested or _several_announced()):
        return
    jax.config.update("jax_enable_recoverability", True)  # when one process dies, the others' members live on
    jax.config.update("jax_enable_preemption_service", False)  # signals are ours (`xinet_jax.training.signals`)
    try:
        jax.distributed.initialize(num_processes=_number("JAX_NUM_PROCESSES"), process_id=_number("JAX_PROCESS_ID"))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join the other processes: {str(error).splitlines()[0]} (set JAX_COORDINATOR_ADDRESS to host:port, "
            f"JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start them by a cluster's launcher)"
        ) from None


def local_members(everyone: Sequence[T]) -> Sequence[T]:
    """Returns the members that this process trains: as many as any other does, or one fewer.

    Raises:
      UserError: if there are more processes than members.
    """
    index, count = jax.process_index(), jax.process_count()
    if count > len(everyone):
        raise UserError(f"{count} processes are too many for {len(everyone)} members: start one for each at most")
    return everyone[index * len(everyone) // count : (index + 1) * len(everyone) // count]


def gather_text(name: str, text: str) -> list[str]:
    """Returns what every process says, by process.

    Args:
      name: what it is about; each can be asked once.
      text: what this process says.

    Raises:
      UserError: if a process says nothing within five minutes.
    """
    count = jax.process_count()
    if count == 1:
        return [text]
    # Through the coordinator and not by a collective of devices: hosts may have different numbers of them.
    client = coordinator()
    client.key_value_set(f"xinet_jax/{name}/{jax.process_index()}", text or " ")
    try:
        return [client.blocking_key_value_get(f"xinet_jax/{name}/{k}", _PATIENCE).strip() for k in range(count)]
    except jax.errors.JaxRuntimeError:
        raise UserError(f"not all of the {count} processes have come to the start of the run") from None


@contextlib.contextmanager
def together(name: str) -> Iterator[None]:
    """Ends the run in every process if what is done here ends it in one.

    Args:
      name: what it is about; each can be done once.

    Raises:
      UserError: this process's own mistake, or another's.
    """
    mistake = None
    try:
        yield
    except UserError as error:
        mistake = error
    messages = gather_text(name, str(mistake or ""))
    if any(messages):
        leave()
    if mistake:
        raise mistake
    for index, message in enumerate(messages):
        if message:
            raise UserError(f"process {index}: {message}")


def wait_for_all() -> None:
    """Waits until every process has come to this point, or is gone."""
    if jax.process_count() == 1:
        return
    wait_for_live_processes()


def leave() -> None:
    """Leaves the run, the first process last: it holds the coordinator, which the others need for a good end."""
    if jax.process_count() == 1:
        return
    if jax.process_index() == 0:
        wait_for_all()  # returns when the others are gone
    else:
        jax.distributed.shutdown()


def _several_announced() -> bool:
    """Returns whether the environment says that several processes were started together."""
    # Of Slurm the number in the step, not in the allocation: a batch script by itself is one process.
    counts = ("JAX_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    return any((_number(name) or 1) > 1 for name in counts)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if value is None:
        return None
    if not value.strip().isdecimal():
        raise UserError(f"environment variable {name} must be a whole number, not {value!r}")
    return int(value)
