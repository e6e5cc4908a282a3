"""Replay on the device: rings of transitions, one for each environment, in which every observation is stored once.

The next observation of a transition is the observation of the one after it, unless an episode ended in between. So
observations have a ring of rows to themselves. A transition knows the row of its observation, and its next observation
is in the row after that. Where an episode ends, its last observation has a row, and the next episode starts in another.
The cost of sampling does not depend on the capacity.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xinet_jax.types import Key, Transition

MORE = 8  # minibatches in what `sample_more` returns
_SHORTEST = 16  # mean length of episodes down to which there are rows for all transitions [steps]


class Replay(NamedTuple):
    """What one agent remembers. `capacity` and `rows` are those of a `Buffer`.

    Shapes are those of one environment. With several, all arrays have a leading axis for them.

    Attributes:
      observation: the observations, `[rows, observation]`.
      action, reward: of every transition, `[capacity, action]`, `[capacity]`.
      row: the number of the row of its observation, counted from the first that was ever written, `[capacity]`;
        `-1 - row` if the episode terminated.
      stored: transitions that were stored, including those that were overwritten.
      size: transitions that can be sampled, the newest ones.
      head: the number of the row that the next transition's observation goes to.
      began: whether a transition of the present episode was stored.
    """

    observation: Float[Array, "*rings rows observation"]
    action: Float[Array, "*rings capacity action"]
    reward: Float[Array, "*rings capacity"]
    row: Int[Array, "*rings capacity"]
    stored: Int[Array, "*rings"]
    size: Int[Array, "*rings"]
    head: Int[Array, "*rings"]
    began: Bool[Array, "*rings"]


class Buffer(NamedTuple):
    """The sizes of a replay, and what can be done with it.

    Attributes:
      capacity: transitions of each environment that are kept; older ones are overwritten. Fewer are kept while the
        episodes among them have a mean length below 16 steps, since each needs one more row.
      batch_size: transitions of a sample.
      envs: environments of one agent, each with a ring of its own.

    Examples:
      >>> buffer = Buffer(capacity=100, batch_size=4)
      >>> replay = buffer.init(observation_size=3, action_size=1)
      >>> ones = jnp.ones(3)
      >>> first = Transition(ones, jnp.zeros(1), jnp.float32(0.5), 2 * ones, jnp.float32(1.0))
      >>> replay = buffer.add(replay, first, stored=jnp.bool_(True), ended=jnp.bool_(False))
      >>> buffer.sample(replay, jax.random.key(0)).reward.tolist()
      [0.5, 0.5, 0.5, 0.5]
    """

    capacity: int
    batch_size: int
    envs: int = 1

    @property
    def rows(self) -> int:
        """Observations of each environment that there is room for."""
        return rows_for(self.capacity)

    def init(self, observation_size: int, action_size: int) -> Replay:
        """Returns an empty replay."""
        rings = () if self.envs == 1 else (self.envs,)
        return Replay(
            observation=jnp.zeros((*rings, self.rows, observation_size)),
            action=jnp.zeros((*rings, self.capacity, action_size)),
            reward=jnp.zeros((*rings, self.capacity)),
            row=jnp.zeros((*rings, self.capacity), jnp.int32),
            stored=jnp.zeros(rings, jnp.int32),
            size=jnp.zeros(rings, jnp.int32),
            head=jnp.zeros(rings, jnp.int32),
            began=jnp.zeros(rings, bool),
        )

    def add(
        self, replay: Replay, transition: Transition, stored: Bool[Array, "*envs"], ended: Bool[Array, "*envs"]
    ) -> Replay:
        """Adds a transition of each environment.

        Args:
          replay: the replay.
          transition: of each environment, the transition that follows the one that was added last unless that ended an
            episode. With several environments, arrays here have a leading axis for them.
          stored: whether it is to be stored; if not, its numbers may be anything, and `ended` must be true.
          ended: whether the episode ended with it, for whichever reason.
        """
        add = self._add if self.envs == 1 else jax.vmap(self._add)
        return add(replay, transition, stored, ended)

    def _add(self, replay: Replay, transition: Transition, stored: Bool[Array, ""], ended: Bool[Array, ""]) -> Replay:
        """Adds a transition to one environment's ring."""
        slot, first = replay.stored % self.capacity, replay.head
        count, began = replay.stored + stored, ~ended & (replay.began | stored)
        # While an episode goes on, row `head` holds the next observation of the transition that was stored last.
        head = first + jnp.where(stored, 1 + ended, ended & replay.began)
        size = jnp.minimum(replay.size + stored, self.capacity)
        for _ in range(2):  # the two rows that are written next may be those of the oldest transition, and of another
            oldest = (count - size) % self.capacity
            number = jnp.where(stored & (oldest == slot), first, _row_number(replay.row[oldest]))
            size = size - ((size > 0) & (number < head + 2 - self.rows))

        def write(array: Array, index: Int[Array, ""], value: Array) -> Array:
            # What is there is written again if need be: a choice between two arrays would copy all of one.
            return array.at[index].set(jnp.where(stored, value, array[index]))

        # Both rows are read before either is written, or XLA copies all.
        rows = jnp.stack([first, first + 1]) % self.rows
        both = jnp.stack([transition.observation, transition.next_observation])
        both = jnp.where(stored, both, replay.observation[rows])
        observation = replay.observation.at[rows[0]].set(both[0]).at[rows[1]].set(both[1])
        number = jnp.where(transition.continues > 0, first, -1 - first)
        # The size is never negative, but XLA does not know: so it reads the rows before it writes, without a copy.
        row = write(replay.row, slot, jnp.where(size < 0, -1, number))
        action, reward = write(replay.action, slot, transition.action), write(replay.reward, slot, transition.reward)
        return Replay(observation, action, reward, row, count, size, head, began)

    def sample(self, replay: Replay, key: Key) -> Transition:
        """Draws transitions uniformly, with replacement, `[batch_size, ...]`. There must be one."""
        if self.envs == 1:
            age = jax.random.randint(key, (self.batch_size,), 0, jnp.maximum(replay.size, 1))
            return self.transitions(replay, (replay.stored - 1 - age) % self.capacity)
        # All that can be sampled is numbered, one environment after the other.
        end = jnp.cumsum(replay.size)
        number = jax.random.randint(key, (self.batch_size,), 0, jnp.maximum(end[-1], 1))
        env = jnp.minimum(jnp.searchsorted(end, number, side="right"), self.envs - 1)
        age = end[env] - 1 - number
        return self.transitions(replay, (replay.stored[env] - 1 - age) % self.capacity, env)

    def sample_more(self, replay: Replay, key: Key) -> Transition:
        """Draws several minibatches as one, `[MORE * batch_size, ...]`."""
        several = jax.vmap(lambda key: self.sample(replay, key))(jax.random.split(key, MORE))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), several)

    def transitions(
        self, replay: Replay, slots: Int[Array, " count"], envs: Int[Array, " count"] | int = 0
    ) -> Transition:
        """Returns the transitions in some slots of some environments, `[count, ...]`.

        The transition that an environment stored as `n`-th is in its slot `n % capacity`.
        """
        if self.envs > 1:  # one ring behind the other, which moves nothing
            rings = {name: getattr(replay, name) for name in ring_lengths(0, 0)}
            replay = replay._replace(**{name: ring.reshape(-1, *ring.shape[2:]) for name, ring in rings.items()})
            slots = envs * self.capacity + slots
        row = replay.row[slots]
        number = _row_number(row)
        return Transition(
            observation=replay.observation[envs * self.rows + number % self.rows],
            action=replay.action[slots],
            reward=replay.reward[slots],
            next_observation=replay.observation[envs * self.rows + (number + 1) % self.rows],
            continues=(row >= 0).astype(jnp.float32),
        )


def rows_for(capacity: int) -> int:
    """Returns how many observations a replay of a capacity has room for."""
    return capacity + capacity // _SHORTEST + 3


def ring_lengths(transitions: int, rows: int) -> dict[str, int]:
    """Returns the lengths of those arrays of a replay that are filled little by little, by name."""
    return {"observation": rows} | dict.fromkeys(("action", "reward", "row"), transitions)


def _row_number(row: Int[Array | np.ndarray, "..."]) -> Int[Array | np.ndarray, "..."]:
    return abs(row) - (row < 0)


def filled(replay: Replay, count: int, capacity: int) -> tuple[int, int]:
    """Returns how many transitions and rows of a ring the first `count` members have in use, that with most.

    Args:
      replay: of all members.
      count: members to look at.
      capacity: transitions that a ring has room for.
    """
    stored, rows = np.asarray(replay.stored)[:count], np.asarray(replay.head)[:count] + 1
    return int(np.minimum(stored, capacity).max()), int(np.minimum(rows, rows_for(capacity)).max())


def wrapped(replay: Replay, capacity: int) -> bool:
    """Returns whether more was written to a ring than there is room for. `replay`: of all members."""
    return bool((np.asarray(replay.stored) > capacity).any() or (np.asarray(replay.head) >= rows_for(capacity)).any())


def resized(replay: Replay, before: int, now: int) -> Replay:
    """Returns a replay with room for another number of transitions, on the host.

    Args:
      replay: of all members; arrays may be cut off after what is filled.
      before, now: the capacity of each ring, and the one that it gets. The oldest transitions are lost if it is
        smaller.
    """
    leading, count = replay.stored.shape, replay.stored.size
    rings = jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[len(leading) :]), replay)
    return jax.tree.map(lambda leaf: leaf.reshape(*leading, *leaf.shape[1:]), _resized(rings, before, now))


def _resized(replay: Replay, before: int, now: int) -> Replay:
    """Does it for rings with one leading axis."""

    def move(name: str, length: int) -> np.ndarray:
        array, old = getattr(replay, name), old_lengths[name]
        moved = np.zeros((array.shape[0], length, *array.shape[2:]), array.dtype)
        for ring, end in enumerate(replay.head + 1 if name == "observation" else replay.stored):
            numbers = np.arange(max(0, end - min(old, length)), end)
            moved[ring, numbers % length] = array[ring, numbers % old]
        return moved

    old_lengths, lengths = (ring_lengths(capacity, rows_for(capacity)) for capacity in (before, now))
    rings = {name: move(name, length) for name, length in lengths.items()}
    size = np.minimum(replay.size, now).astype(np.int32)
    for ring, (stored, head) in enumerate(zip(replay.stored, replay.head, strict=True)):
        kept = rings["row"][ring, np.arange(stored - size[ring], stored) % now]
        size[ring] = np.sum(_row_number(kept) >= head + 2 - rows_for(now))
    return replay._replace(size=size, **rings)
