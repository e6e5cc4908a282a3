"""The optimiser: Adam with decoupled weight decay, and the moving average of the losses."""

import jax
import optax
from jaxtyping import Array

from xinet_jax.agent.state import Hyper
from xinet_jax.types import Tree

adam = optax.scale_by_adam()
_AVERAGE_DECAY = 0.99
average = optax.ema(_AVERAGE_DECAY, debias=True)


def averages(state: optax.OptState) -> Tree:
    """Returns the moving averages that a state of `average` holds, which must have seen a value."""
    return optax.tree.bias_correction(state.ema, _AVERAGE_DECAY, state.count)


def descend(
    hyper: Hyper, params: dict[str, Tree], optimiser: dict[str, optax.OptState], gradient: dict[str, Tree]
) -> tuple[dict[str, Tree], dict[str, optax.OptState]]:
    """Takes a step of Adam for the networks that `gradient` names; the others stay as they are.

    Weight decay is decoupled from Adam's scaling (Loshchilov & Hutter 2019, arXiv 1711.05101), and for kernels only.

    Args:
      hyper: learning rate and weight decay.
      params, optimiser: parameters and Adam's moments, per network.
      gradient: gradients, per network.

    Returns:
      The new parameters and moments.
    """

    def step(path: tuple, parameter: Array, direction: Array) -> Array:
        is_kernel = getattr(path[-1] if path else None, "key", None) == "kernel"
        decay = hyper.weight_decay * parameter if is_kernel else 0.0
        return parameter - hyper.learning_rate * (direction + decay)

    params, optimiser = dict(params), dict(optimiser)
    for name, tree in gradient.items():
        direction, optimiser[name] = adam.update(tree, optimiser[name])
        params[name] = jax.tree.map_with_path(step, params[name], direction)
    return params, optimiser
