"""Replay on the device: flashbax's item buffer. Sampling costs the same whatever the capacity."""

from typing import NamedTuple

import flashbax
import jax.numpy as jnp
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer
from jaxtyping import Array, Float


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


def make_replay(capacity: int, batch_size: int) -> TrajectoryBuffer:
    """Returns flashbax's `init`, `add` and `sample` for single transitions, sampled uniformly with replacement.

    Args:
      capacity: transitions kept; older ones are overwritten.
      batch_size: transitions per sample. The capacity is raised to it if smaller.
    """
    return flashbax.make_item_buffer(max_length=max(capacity, batch_size), min_length=1, sample_batch_size=batch_size)


def empty_transition(observation_size: int, action_size: int) -> Transition:
    """Returns a transition of zeros, the pattern that a buffer is made from."""
    observation, scalar = jnp.zeros(observation_size), jnp.zeros(())
    return Transition(observation, jnp.zeros(action_size), scalar, observation, scalar)
