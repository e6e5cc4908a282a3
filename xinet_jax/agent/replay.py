"""Replay on the device: flashbax's item buffer. The cost of sampling does not depend on the capacity."""

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer, TrajectoryBufferState
from jaxtyping import Array, Bool, Int

from xinet_jax.types import Key, Transition

MORE = 8  # minibatches in what `sample_more` returns


def make_replay(capacity: int, batch_size: int) -> TrajectoryBuffer:
    """Returns flashbax's `init`, `add` and `sample` for single transitions, sampled uniformly with replacement.

    Args:
      capacity: transitions kept; older ones are overwritten.
      batch_size: transitions per sample, at most the capacity.
    """
    return flashbax.make_item_buffer(max_length=capacity, min_length=1, sample_batch_size=batch_size)


def sample_more(buffer: TrajectoryBuffer, state: TrajectoryBufferState, key: Key) -> Transition:
    """Samples several minibatches as one, `[MORE * batch, ...]`."""
    several = jax.vmap(lambda key: buffer.sample(state, key).experience)(jax.random.split(key, MORE))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), several)


def add_if(
    buffer: TrajectoryBuffer, state: TrajectoryBufferState, transition: Transition, good: Bool[Array, ""]
) -> TrajectoryBufferState:
    """Stores a transition if it is `good`; otherwise the buffer stays as it is.

    In that case the present row is written again. A choice between two buffers would copy all of one.
    """
    present = jax.tree.map(lambda leaf: leaf[0, state.current_index], state.experience)
    row = jax.tree.map(lambda new, old: jnp.where(good, new, old), transition, present)
    after = buffer.add(state, row)
    return after.replace(
        current_index=jnp.where(good, after.current_index, state.current_index),
        is_full=jnp.where(good, after.is_full, state.is_full),
    )


def empty_transition(observation_size: int, action_size: int) -> Transition:
    """Returns a transition of zeros, from whose shapes a buffer is made."""
    observation, scalar = jnp.zeros(observation_size), jnp.zeros(())
    return Transition(observation, jnp.zeros(action_size), scalar, observation, scalar)


def replay_filled(state: TrajectoryBufferState) -> Int[Array, " members"]:
    """Returns how many transitions every member's replay holds. All arrays have a leading axis of members."""
    return jnp.where(state.is_full, state.experience.reward.shape[2], state.current_index)


def refill(state: TrajectoryBufferState, capacity: int, now: int) -> TrajectoryBufferState:
    """Returns a replay with room for `now` transitions and the content of a saved one, on the host.

    Args:
      state: the saved replay: its transitions `[members, 1, filled, ...]`, and where the next one goes.
      capacity: the capacity of the saved replay.
      now: the new capacity. It may be larger only if the saved replay had never wrapped around.
    """

    def widen(leaf: np.ndarray) -> np.ndarray:
        whole = np.zeros((*leaf.shape[:2], now, *leaf.shape[3:]), leaf.dtype)
        whole[:, :, : leaf.shape[2]] = leaf
        return whole

    experience = jax.tree.map(widen, state.experience)
    if now == capacity:
        return state.replace(experience=experience)
    index = np.where(state.is_full, capacity, state.current_index).astype(state.current_index.dtype)
    return state.replace(experience=experience, current_index=index, is_full=np.zeros_like(state.is_full))
