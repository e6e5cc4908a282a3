"""Normalisation of observations by their running mean and variance, and how networks take it over.

As in SimBa (Lee et al. 2024, arXiv 2410.09754); a hundredth is added to the standard deviation, as in FastTD3 (Seo et
al. 2025, arXiv 2505.22642), so that numbers that hardly ever change are not blown up.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape
from xinet_jax.types import Tree

_ADDED = 0.01  # to each standard deviation
_MEMORY = 2.0**18  # observations over which the moments are taken: in float32 they would not change by one in millions


class ObservationStatistics(NamedTuple):
    """What was observed so far.

    Attributes:
      mean, variance: of each number of the observations, `[observation]`.
      count: observations, `2**18` at most: from then on older ones are gradually forgotten.
    """

    mean: Float[Array, "*members observation"]
    variance: Float[Array, "*members observation"]
    count: Float[Array, "*members"]


def init(size: int) -> ObservationStatistics:
    """Returns the statistics before the first observation: normalisation changes next to nothing."""
    return ObservationStatistics(jnp.zeros(size), jnp.ones(size), jnp.zeros(()))


def observe(
    statistics: ObservationStatistics, observation: Float[Array, "*envs observation"], counted: Bool[Array, "*envs"]
) -> ObservationStatistics:
    """Returns the statistics with some more observations (Chan et al. 1983, of two sets' moments).

    Args:
      statistics: of those so far.
      observation: one of each environment, `[*envs, observation]`.
      counted: whether it counts; if not, its numbers may be anything.

    Examples:
      >>> statistics = init(1)
      >>> for value in (1.0, 2.0, 6.0):
      ...     statistics = observe(statistics, jnp.array([value]), jnp.bool_(True))
      >>> float(statistics.mean[0]), round(float(statistics.variance[0]), 4)
      (3.0, 4.6667)
    """
    rows = observation.reshape(-1, observation.shape[-1])
    counted = counted.reshape(-1, 1)
    number = counted.sum()
    mean = jnp.where(counted, rows, 0.0).sum(axis=0) / jnp.maximum(number, 1)
    squares = jnp.where(counted, jnp.square(rows - mean), 0.0).sum(axis=0)
    count = jnp.minimum(statistics.count + number, _MEMORY)
    share = number / jnp.maximum(count, 1.0)
    delta = mean - statistics.mean
    within = squares / jnp.maximum(number, 1) - statistics.variance
    variance = statistics.variance + share * (within + (1.0 - share) * jnp.square(delta))
    return ObservationStatistics(statistics.mean + share * delta, variance, count)


def normalise(
    statistics: ObservationStatistics, observation: Float[Array, "*batch observation"]
) -> Float[Array, "*batch observation"]:
    """Returns observations less their mean, divided by their standard deviation and a hundredth."""
    return (observation - statistics.mean) * _scale(statistics)


def fold(
    shape: Shape, params: dict[str, Tree], averages: Tree, statistics: ObservationStatistics
) -> tuple[dict[str, Tree], Tree]:
    """Returns networks that compute from observations as they are what they did from normalised ones.

    Args:
      shape: the sizes.
      params: one agent's parameters, `{"ofenet", "actor", "critic", ...}`.
      averages: OFENet's running means and variances.
      statistics: what observations were normalised by.

    Returns:
      The new parameters and running averages.
    """
    arrays, means = layout.flat(params), layout.flat(averages)
    scale = _scale(statistics)
    norms = {group: layer for layer in layout.stored(shape) if layer.averages for group in layer.outputs}
    for layer in layout.stored(shape):
        if not layer.inputs or (layer.inputs[0].network, layer.inputs[0].name) != ("input", "observation"):
            continue  # where a layer reads the observation, its rows come first
        first, rest = jnp.split(jnp.asarray(arrays[layer.kernel]), [shape.observation], axis=-2)
        first = first * scale[:, None]
        shift = jnp.einsum("i,...iu->...u", statistics.mean, first, precision="highest")  # of the layer's outputs
        arrays[layer.kernel] = jnp.concatenate([first, rest], axis=-2)
        if layer.vectors:
            bias = (*layer.path, "bias")
            arrays[bias] = arrays[bias] - shift
            continue
        start = 0
        for group in layer.outputs:  # the normalisation that follows subtracts it
            if group.size:
                path = (*norms[group].path[1:], "mean")
                means[path] = means[path] + shift[start : start + group.size]
            start += group.size
    return layout.nested(arrays, params), layout.nested(means, averages)


def _scale(statistics: ObservationStatistics) -> Float[Array, "*members observation"]:
    return 1.0 / (jnp.sqrt(statistics.variance) + _ADDED)
