"""Array types that more than one room uses."""

from jaxtyping import Array, Float, PRNGKeyArray, UInt32

# A random key of either kind: new-style typed, or the raw pair of integers that `jax.random.PRNGKey` returns.
Key = PRNGKeyArray | UInt32[Array, "2"]
# A number, which may be traced.
Scalar = Float[Array, ""] | float
