"""What differs between versions of JAX, or is private to it."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax._src import distributed
from jax.experimental import multihost_utils

P, R = ParamSpec("P"), TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function compute in float32 whatever `JAX_ENABLE_X64` says; outside it, JAX stays as it was set."""

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64():
            return function(*arguments, **options)

    return call


def coordinator() -> Any:
    """Returns the client of JAX's coordination service, by which the processes of a run exchange short texts.

    It has `key_value_set(key, text)` and `blocking_key_value_get(key, milliseconds)`. Private: JAX's public functions
    exchange arrays between devices, of which hosts may have different numbers.
    """
    return distributed.global_state.client


def wait_for_live_processes() -> None:
    """Waits until every process has come to this point, or is gone.

    Experimental in JAX: `live_devices` waits when it is called (0.7), or is a context that waits at its end.
    """
    failure = getattr(multihost_utils, "ProcessFailureError", jax.errors.JaxRuntimeError)
    with contextlib.suppress(failure):
        live = multihost_utils.live_devices(jax.devices())
        if isinstance(live, contextlib.AbstractContextManager):
            with live:
                pass
