"""What a checkpoint holds of the members: all their arrays, but of their replays only the part that is filled."""

import jax
import numpy as np

from xinet_jax.agent.replay import filled
from xinet_jax.training.member import Member
from xinet_jax.training.setup import Setup

RINGS = ("observation", "action", "reward", "row")  # the arrays of a replay that are filled little by little


def snapshot(state: Member, count: int, capacity: int) -> Member:
    """Returns the first `count` members on the host, with only that part of their replays which any of them has filled.

    All is copied: arrays on the device are donated to the next chunk. `capacity`: of the replays.
    """

    def copy(leaf: jax.Array | np.ndarray) -> np.ndarray:
        return np.array(np.asarray(leaf)[:count])

    rings = {name: getattr(state.replay, name) for name in RINGS}
    rest = jax.tree.map(copy, state._replace(replay=state.replay._replace(**dict.fromkeys(RINGS, ()))))
    transitions, observations = filled(rest.replay, capacity)
    lengths = dict.fromkeys(RINGS, transitions) | {"observation": observations}
    rings = {name: copy(np.asarray(leaf)[:, : lengths[name]]) for name, leaf in rings.items()}
    return rest._replace(replay=rest.replay._replace(**rings))


def snapshot_shapes(setup: Setup, transitions: int, observations: int) -> Member:
    """Returns the shapes and types of a snapshot of all members of a setup, with so many transitions and rows each."""
    count = len(setup.identities)
    state = jax.eval_shape(setup.program.init, setup.hyper, setup.seeds)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), state)

    def cut(name: str) -> jax.ShapeDtypeStruct:
        leaf, length = getattr(state.replay, name), observations if name == "observation" else transitions
        return jax.ShapeDtypeStruct((leaf.shape[0], length, *leaf.shape[2:]), leaf.dtype)

    return state._replace(replay=state.replay._replace(**{name: cut(name) for name in RINGS}))
