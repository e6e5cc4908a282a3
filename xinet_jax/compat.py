"""The one place for what differs between versions of libraries, or is not part of their public interfaces."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P, R = ParamSpec("P"), TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function compute in float32 whatever `JAX_ENABLE_X64` says; outside it, JAX stays as it was set."""

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64():
            return function(*arguments, **options)

    return call
