"""Array types, and a question to arrays, that more than one room uses."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

# A random key of either kind: new-style typed, or the raw pair of integers that `jax.random.PRNGKey` returns.
Key = PRNGKeyArray | UInt32[Array, "2"]
# A number, which may be traced.
Scalar = Float[Array, ""] | float


P, R = ParamSpec("P"), TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function compute in float32 whatever `JAX_ENABLE_X64` says; outside it, JAX stays as it was set."""

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64():
            return function(*arguments, **options)

    return call


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether there is neither infinity nor NaN in any of a tree's arrays."""
    every = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(every).all() if every else jnp.bool_(True)
