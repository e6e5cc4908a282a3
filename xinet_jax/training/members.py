"""Members: the agents trained side by side. Today a member is a seed; its hyper-parameters are leaves of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from xinet_jax.agent import Hyper

Tree = Any


def seeds(first_seed: int, count: int) -> Int[Array, " members"]:
    """Returns every member's seed, `[members]`."""
    return jnp.arange(first_seed, first_seed + count, dtype=jnp.int32)


def repeat(hyper: Hyper, count: int) -> Hyper:
    """Returns the same hyper-parameters for every member: leaves `[members]`."""
    return jax.tree.map(lambda value: jnp.full(count, value, jnp.float32), hyper)


def select(tree: Tree, member: int) -> Tree:
    """Returns one member's part of a tree, on the host and without the member axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[member]), tree)
