"""What a chunk of a phase sums up, for metrics."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xinet_jax.agent.state import Metrics


class Tally(NamedTuple):
    """Sums over the steps of a chunk, one set per member.

    Attributes:
      metrics: sums of the updates' figures.
      updates: number of updates.
      theta_held: sums, over steps of theta, of the units that stayed where they were since their gradient was not
        finite. It should be 0; diverged agents count none.
      episodes, episode_return, episode_length: finished episodes: how many, and sums of returns and lengths.
      bad_transitions: transitions with anything that is not finite, which were not stored.
    """

    metrics: Metrics
    updates: Int[Array, "*members"]
    theta_held: Float[Array, "*members"]
    episodes: Int[Array, "*members"]
    episode_return: Float[Array, "*members"]
    episode_length: Int[Array, "*members"]
    bad_transitions: Int[Array, "*members"]


def empty_tally() -> Tally:
    """Returns the sums of no steps, of one member."""
    metrics = Metrics(*(jnp.zeros(()) for _ in Metrics._fields))
    return Tally(metrics, jnp.int32(0), jnp.zeros(()), jnp.int32(0), jnp.zeros(()), jnp.int32(0), jnp.int32(0))
