"""Calls of compiled programs by the host."""

import contextlib
from collections.abc import Iterator

from xinet_jax.tasks.engines.host_call import hearing_interrupts
from xinet_jax.training import memory
from xinet_jax.training.signals import StopOnSignal


@contextlib.contextmanager
def program_call(stop: StopOnSignal, compiles: bool) -> Iterator[None]:
    """Surrounds a call of a program.

    Args:
      stop: what answers signals; while a program is compiled they have to wait for that, and it says so.
      compiles: whether it is the program's first call. Compilers leave memory behind, which is given back.
    """
    stop.compiling = compiles
    try:
        with hearing_interrupts():
            yield
    finally:
        stop.compiling = False
    if compiles:
        memory.give_back()
