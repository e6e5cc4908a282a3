"""What a chunk of a phase sums up, for metrics."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xinet_jax.agent.state import Metrics
from xinet_jax.pruning.theta import Figures


class Tally(NamedTuple):
    """Sums over the steps of a chunk, one set per member.

    Attributes:
      metrics: sums of the updates' figures.
      updates: number of updates.
      theta: sums of the figures of the steps of theta. No unit should be held; diverged agents count none.
      theta_steps: number of steps of theta.
      episodes, episode_return, episode_length: finished episodes: how many, and sums of returns and lengths.
      bad_transitions: transitions with anything that is not finite, which were not stored.
    """

    metrics: Metrics
    updates: Int[Array, "*members"]
    theta: Figures
    theta_steps: Int[Array, "*members"]
    episodes: Int[Array, "*members"]
    episode_return: Float[Array, "*members"]
    episode_length: Int[Array, "*members"]
    bad_transitions: Int[Array, "*members"]


def empty_tally() -> Tally:
    """Returns the sums of no steps, of one member."""
    metrics, theta = Metrics(*(jnp.zeros(()) for _ in Metrics._fields)), Figures(jnp.zeros(()), jnp.zeros(()))
    none = jnp.int32(0)
    return Tally(metrics, none, theta, none, none, jnp.zeros(()), none, none)
