"""What a checkpoint holds of the members: all their arrays, but of their replays only the part that is filled."""

import jax
import numpy as np

from xinet_jax.agent.replay import filled, ring_lengths
from xinet_jax.training.member import Member
from xinet_jax.training.setup import Setup


def snapshot(state: Member, count: int, capacity: int) -> Member:
    """Returns the first `count` members on the host, with only that part of their replays which any of them has filled.

    All is copied: arrays on the device are donated to the next chunk. `capacity`: of the replays.
    """

    def copy(leaf: jax.Array | np.ndarray) -> np.ndarray:
        return np.array(np.asarray(leaf)[:count])

    lengths, every = ring_lengths(*filled(state.replay, count, capacity)), (slice(None),) * state.replay.stored.ndim
    rings = {name: copy(np.asarray(getattr(state.replay, name))[*every, :length]) for name, length in lengths.items()}
    rest = jax.tree.map(copy, state._replace(replay=state.replay._replace(**dict.fromkeys(lengths, ()))))
    return rest._replace(replay=rest.replay._replace(**rings))


def snapshot_shapes(setup: Setup, transitions: int, observations: int) -> Member:
    """Returns the shapes and types of a snapshot of all members of a setup, with so many transitions and rows each."""
    count, axis = len(setup.identities), 1 + (setup.buffer.envs > 1)  # the rings', behind those of members and envs
    state = jax.eval_shape(setup.program.init, setup.hyper, setup.seeds)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), state)

    def cut(name: str, length: int) -> jax.ShapeDtypeStruct:
        leaf = getattr(state.replay, name)
        return jax.ShapeDtypeStruct((*leaf.shape[:axis], length, *leaf.shape[axis + 1 :]), leaf.dtype)

    lengths = ring_lengths(transitions, observations)
    return state._replace(replay=state.replay._replace(**{name: cut(name, length) for name, length in lengths.items()}))
