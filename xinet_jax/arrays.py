"""Array types, and a question to arrays, that more than one room uses."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

# A random key of either kind: new-style typed, or the raw pair of integers that `jax.random.PRNGKey` returns.
Key = PRNGKeyArray | UInt32[Array, "2"]
# A number, which may be traced.
Scalar = Float[Array, ""] | float


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether there is neither infinity nor NaN in any of a tree's arrays."""
    every = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(every).all() if every else jnp.bool_(True)
