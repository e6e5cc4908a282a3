"""What a checkpoint holds of the members: all their arrays, but of their replays only the part that is filled."""

import jax
import numpy as np

from xinet_jax.agent.replay import replay_filled
from xinet_jax.training.member import Member
from xinet_jax.training.setup import Setup


def snapshot(state: Member, count: int) -> Member:
    """Returns the first `count` members on the host, with only that part of their replays which any of them has filled.

    All is copied: arrays on the device are donated to the next chunk.
    """
    filled = int(np.max(np.asarray(replay_filled(state.replay))[:count]))

    def copy(leaf: jax.Array | np.ndarray) -> np.ndarray:
        return np.array(np.asarray(leaf)[:count])

    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:count, :, :filled].copy(), state.replay.experience)
    replay = jax.tree.map(copy, state.replay.replace(experience=())).replace(experience=rows)
    return jax.tree.map(copy, state._replace(replay=()))._replace(replay=replay)


def snapshot_shapes(setup: Setup, filled: int) -> Member:
    """Returns the shapes and types of a snapshot of all members of a setup, with `filled` transitions each."""
    count = len(setup.identities)
    state = jax.eval_shape(setup.program.init, setup.hyper, setup.seeds)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), state)

    def cut(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*leaf.shape[:2], filled, *leaf.shape[3:]), leaf.dtype)

    return state._replace(replay=state.replay.replace(experience=jax.tree.map(cut, state.replay.experience)))
