"""Types of arrays, and of trees of them, that several packages use."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

# A random key of either kind: new-style typed, or the raw pair of integers that `jax.random.PRNGKey` returns.
Key = PRNGKeyArray | UInt32[Array, "2"]
# The axis of the devices that members are spread over, inside a program for all of them.
DEVICE_AXIS = "members"
# A number, which may be traced.
Scalar = Float[Array, ""] | float
# Nested dictionaries, tuples and named tuples of arrays.
Tree = Any
# One array per gated hidden layer: `{"ofenet": {"state": (...), "action": (...)}, "actor": (...), "critic": (...)}`.
# Arrays are `[width]`, the critics' `[2, width]`. Networks without gates are absent.
Units = dict[str, Any]


class Transition(NamedTuple):
    """What replay holds.

    Attributes:
      observation, action, reward: `[*batch, observation]`, `[*batch, action]`, `[*batch]`.
      next_observation: the observation after the step, before any reset, `[*batch, observation]`.
      continues: 1.0 unless the episode terminated; truncation does not count, `[*batch]`.
    """

    observation: Float[Array, "*batch observation"]
    action: Float[Array, "*batch action"]
    reward: Float[Array, "*batch"]
    next_observation: Float[Array, "*batch observation"]
    continues: Float[Array, "*batch"]


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether there is neither infinity nor NaN in any of a tree's arrays.

    Accelerators look at all small arrays in one pass: for each of many, the launch would take longer.
    """
    leaves = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(tree)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not leaves:
        return jnp.bool_(True)

    def one_by_one(*leaves: Array) -> Array:
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()

    def together(*leaves: Array) -> Array:
        small = [leaf.ravel() for leaf in leaves if leaf.size < _LARGE]
        large = [leaf for leaf in leaves if leaf.size >= _LARGE]
        return one_by_one(*([jnp.concatenate(small)] if small else []), *large)

    return jax.lax.platform_dependent(*leaves, cpu=one_by_one, default=together)


_LARGE = 2**14  # numbers that take longer to copy than a launch takes
