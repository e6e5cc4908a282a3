"""Functions that want to see a whole batch, however many times they are `vmap`ped."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def as_one_batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of single items, which `vmap`, nested or not, turns into one call for the whole batch.

    For what depends on the batch as a whole: a condition on any of its items, which `vmap` would turn into computing
    both sides, or memory that all of them share.

    Args:
      function: maps trees of arrays with one leading axis to a tree of arrays with the same leading axis.
    """

    @jax.custom_batching.custom_vmap
    def of_batch(*arguments: Any) -> Any:
        return function(*arguments)

    @of_batch.def_vmap
    def rule(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        def whole(leaf: Any, is_batched: bool) -> Any:
            return leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))

        arguments = jax.tree.map(whole, arguments, tuple(batched))
        joined = of_batch(*jax.tree.map(lambda leaf: leaf.reshape(size * leaf.shape[1], *leaf.shape[2:]), arguments))
        result = jax.tree.map(lambda leaf: leaf.reshape(size, leaf.shape[0] // size, *leaf.shape[1:]), joined)
        return result, jax.tree.map(lambda _: True, result)

    def of_one(*arguments: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], of_batch(*jax.tree.map(lambda leaf: leaf[None], arguments)))

    return of_one
