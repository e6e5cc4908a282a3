"""Replay on the device: flashbax's item buffer. Sampling costs the same whatever the capacity."""

from typing import NamedTuple

import flashbax
import jax
import jax.numpy as jnp
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer, TrajectoryBufferState
from jaxtyping import Array, Bool, Float

from xinet_jax.arrays import Key


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


def sample_after_add(
    buffer: TrajectoryBuffer, state: TrajectoryBufferState, key: Key, always: Bool[Array, ""]
) -> Transition:
    """Samples a minibatch, `[batch, ...]`, in an iteration of a loop that has stored a transition before.

    XLA would merge the write into the reads, which would then need the buffer as it was before, and so copy all of it
    at every iteration. It does not look into a conditional.

    Args:
      buffer, state: the buffer, and what is in it.
      key: random key.
      always: true, but not known to be by the compiler; zeros are returned if not.
    """

    def draw() -> Transition:
        return buffer.sample(state, key).experience

    return jax.lax.cond(always, draw, lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(draw)))


def empty_transition(observation_size: int, action_size: int) -> Transition:
    """Returns a transition of zeros, the pattern that a buffer is made from."""
    observation, scalar = jnp.zeros(observation_size), jnp.zeros(())
    return Transition(observation, jnp.zeros(action_size), scalar, observation, scalar)
