"""A policy as StableHLO, by `jax.export`: any JAX of the next years, or what else reads StableHLO, runs it."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xinet_jax.compat.jax import in_float32
from xinet_jax.policy.forward import Network, act

_PLATFORMS = ("cpu", "cuda", "tpu")


@in_float32
def encode(network: Network, about: dict[str, str], name: str) -> tuple[bytes]:
    """Returns the serialised function from observations `[batch, observation]` to actions, for a batch of any size.

    Args:
      network: the policy.
      about: not used; the format has no place for it.
      name: the function's name.
    """

    def policy(observation: Float[Array, "batch observation"]) -> Float[Array, "batch action"]:
        return act(network, observation, jnp)

    policy.__name__ = name
    observation = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("batch"), network.observation), np.float32)
    with jax.default_matmul_precision("highest"):  # else GPUs and TPUs would round factors
        exported = jax.export.export(jax.jit(policy), platforms=_PLATFORMS)(observation)
    return (bytes(exported.serialize()),)


@in_float32
def run(content: bytes, observations: Float[np.ndarray, "rows observation"]) -> Float[np.ndarray, "rows action"]:
    """Returns the actions of a serialised function, on JAX's platform."""
    return np.asarray(jax.export.deserialize(bytearray(content)).call(observations))
