"""Replay gives back exactly the transitions that a plain buffer of whole transitions would."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch

from xinet_jax.agent.replay import Buffer, resized, rows_for, wrapped
from xinet_jax.types import Transition


def history(lengths, bad=(), seed=0):
    """Yields transitions, whether each can be stored, and whether its episode ended. Every second end is final.

    Args:
      lengths: of the episodes.
      bad: numbers of steps with observations that are not finite, which end their episodes.
      seed: of the observations.
    """
    draw, step = np.random.default_rng(seed), 0
    for episode, length in enumerate(lengths):
        observation = draw.normal(size=3).astype(np.float32)
        for t in range(length):
            following, last = draw.normal(size=3).astype(np.float32), t == length - 1
            continues = np.float32(not (last and episode % 2))
            if step in bad:
                following = np.full(3, np.nan, np.float32)
            action = draw.normal(size=2).astype(np.float32)
            yield (
                Transition(observation, action, np.float32(step), following, continues),
                step not in bad,
                last or step in bad,
            )
            step += 1
            if step - 1 in bad:
                break
            observation = following


def fill(buffer, steps):
    """Returns the replay after some steps, and after each the transitions that a plain buffer has, the oldest first."""
    add, replay, plain, states = jax.jit(buffer.add), buffer.init(3, 2), [], []
    for transition, stored, ended in steps:
        replay = add(replay, transition, jnp.bool_(stored), jnp.bool_(ended))
        plain = (plain + [transition] * stored)[-buffer.capacity :]
        states.append((replay, plain))
    return states


def newest(buffer, replay):
    """Returns what can be sampled, the oldest first."""
    in_order = jax.tree.map(np.asarray, _in_order(buffer, replay))
    return jax.tree.map(lambda leaf: leaf[buffer.capacity - int(replay.size) :], in_order)


@functools.partial(jax.jit, static_argnums=0)
def _in_order(buffer, replay):
    return buffer.transitions(replay, (replay.stored + jnp.arange(buffer.capacity)) % buffer.capacity)


def assert_holds(buffer, replay, plain):
    for ours, theirs in zip(newest(buffer, replay), Transition(*map(np.stack, zip(*plain, strict=True))), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("capacity", [32, 40])
def test_it_holds_the_newest_transitions_exactly(capacity):
    """Over episodes long and short, terminated and cut off, once around the ring and again."""
    buffer = Buffer(capacity, 4)
    for replay, plain in fill(buffer, history([25, 30, 41, 33, 1, 70], bad=(70,))):
        assert int(replay.size) == len(plain)
        assert_holds(buffer, replay, plain)


def test_short_episodes_leave_room_for_fewer():
    buffer = Buffer(48, 4)
    states = fill(buffer, history([3, 1, 2, 5, 1, 4] * 20))
    sizes = [int(replay.size) for replay, _ in states]
    assert 30 < min(sizes[100:]) <= max(sizes[100:]) < 48
    for replay, plain in states[::7]:
        assert_holds(buffer, replay, plain[-int(replay.size) :])
    # Long episodes again, and there is room for all.
    replay, plain = fill(buffer, history([3, 1] * 30 + [100]))[-1]
    assert int(replay.size) == 48
    assert_holds(buffer, replay, plain)


def test_samples_are_of_what_is_there_and_uniform(key):
    buffer = Buffer(8, 4)
    states = fill(buffer, history([11]))
    for i, (replay, plain) in enumerate(states):
        drawn = buffer.sample(replay, jax.random.fold_in(key, i))
        assert set(drawn.reward.tolist()) <= {float(transition.reward) for transition in plain}
    many = jax.vmap(lambda key: buffer.sample(states[-1][0], key))(jax.random.split(key, 200))
    values, counts = np.unique(many.reward, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(3, 11))
    assert counts.min() > 60, "each is drawn about a hundred times"
    several = buffer.sample_more(states[-1][0], key)
    assert several.observation.shape == (32, 3)


def test_members_are_apart():
    """Batched adds and samples, of members whose episodes end at different times."""
    buffer, lengths = Buffer(20, 4), ([7, 40], [25, 3, 30])
    runs = [fill(buffer, history(each, seed=i)) for i, each in enumerate(lengths)]
    add, replay = jax.jit(jax.vmap(buffer.add)), jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), buffer.init(3, 2))
    for steps in zip(*(history(each, seed=i) for i, each in enumerate(lengths)), strict=False):
        replay = add(replay, *jax.tree.map(lambda *leaves: np.stack(leaves), *steps))
    for member, run in enumerate(runs):
        one = jax.tree.map(lambda leaf, m=member: leaf[m], replay)
        assert_holds(buffer, one, run[46][1])


def test_a_transition_of_halfcheetah_takes_105_bytes():
    replay = jax.eval_shape(lambda: Buffer(1_000_000, 256).init(17, 6))
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(replay)) / 1_000_000 < 105
    transition = jax.eval_shape(lambda: random_batch(jax.random.PRNGKey(0), size=1))
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(transition)) == 168


def test_steps_that_are_not_stored_take_no_room():
    """Of a task that gives nothing but NaN for a while."""
    buffer = Buffer(20, 4)
    replay, plain = fill(buffer, history([1] * 12 + [100], bad=range(12)))[11]
    assert (int(replay.size), int(replay.head), plain) == (0, 0, [])
    replay, plain = fill(buffer, history([15] + [1] * 50 + [5], bad=range(15, 65)))[-1]
    assert int(replay.size) == len(plain) == 20
    assert_holds(buffer, replay, plain)


def test_what_has_no_row_in_a_smaller_one_is_not_sampled():
    buffer, other = Buffer(64, 4), Buffer(32, 4)
    replay, plain = fill(buffer, history([2] * 14))[-1]
    every = jax.tree.map(lambda leaf: np.asarray(leaf)[None], replay)
    moved = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), resized(every, 64, 32))
    assert 0 < int(moved.size) < len(plain) == 28
    assert_holds(other, moved, plain[-int(moved.size) :])


@pytest.mark.parametrize(("steps", "now"), [(15, 40), (15, 20), (15, 17), (30, 40), (90, 64)])
def test_it_can_be_given_another_size(steps, now):
    """Before it has wrapped around and after: the same transitions, and they go on."""
    buffer, other = Buffer(20, 4), Buffer(now, 4)
    lengths = [9, 30, 30, 50]
    replay, plain = fill(buffer, history(lengths))[steps - 1]
    every = jax.tree.map(lambda leaf: np.asarray(leaf)[None], replay)
    assert wrapped(every, 20) == (steps > 20)
    moved = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), resized(every, 20, now))
    assert moved.observation.shape == (rows_for(now), 3)
    assert_holds(other, moved, plain)
    add = jax.jit(other.add)
    for transition, stored, ended in list(history(lengths))[steps : steps + 12]:
        moved, plain = add(moved, transition, jnp.bool_(stored), jnp.bool_(ended)), [*plain, transition][-now:]
    assert_holds(other, moved, plain)


LENGTHS_OF_ENVS = ([7, 40], [25, 3, 30], [1] * 12 + [40])


def several_envs(buffer, count):
    """Returns the replay of environments that were stepped together so often, and each one's plain buffer."""
    runs = [
        fill(Buffer(buffer.capacity, 4), history(each, seed=i))[count - 1] for i, each in enumerate(LENGTHS_OF_ENVS)
    ]
    add, replay = jax.jit(buffer.add), buffer.init(3, 2)
    histories = (history(each, seed=i) for i, each in enumerate(LENGTHS_OF_ENVS))
    for _, steps in zip(range(count), zip(*histories, strict=False), strict=False):
        replay = add(replay, *jax.tree.map(lambda *leaves: np.stack(leaves), *steps))
    return replay, runs


def test_each_environment_has_a_ring():
    buffer = Buffer(20, 4, envs=3)
    replay, runs = several_envs(buffer, 46)
    for env, (alone, _) in enumerate(runs):
        jax.tree.map(lambda ours, theirs, e=env: np.testing.assert_array_equal(ours[e], theirs), replay, alone)


def test_samples_are_uniform_over_all_environments(key):
    """Also where episodes are so short that one environment's ring holds fewer."""
    buffer = Buffer(20, 50, envs=3)
    replay, runs = several_envs(buffer, 25)
    assert len(set(map(int, replay.size))) > 1
    drawn = jax.vmap(lambda key: buffer.sample(replay, key))(jax.random.split(key, 200))
    rows = {tuple(row) for row in np.asarray(drawn.observation.reshape(-1, 3)).tolist()}
    there = [plain[-int(size) :] for (_, plain), size in zip(runs, replay.size, strict=True)]
    assert rows == {tuple(step.observation.tolist()) for plain in there for step in plain}
    _, counts = np.unique(np.asarray(drawn.observation.reshape(-1, 3)), axis=0, return_counts=True)
    expected = 10_000 / sum(map(len, there))
    assert 0.6 * expected < counts.min() <= counts.max() < 1.5 * expected
    # What is drawn belongs together.
    by_row = {tuple(step.observation.tolist()): step for plain in there for step in plain}
    one = jax.tree.map(lambda leaf: np.asarray(leaf[0]), drawn)
    for i in range(50):
        for ours, theirs in zip(one, by_row[tuple(one.observation[i].tolist())], strict=True):
            np.testing.assert_array_equal(ours[i], theirs)


def test_rings_of_all_environments_can_be_given_another_size():
    buffer, other = Buffer(20, 4, envs=3), Buffer(32, 4, envs=3)
    replay, runs = several_envs(buffer, 17)
    moved = resized(jax.tree.map(lambda leaf: np.asarray(leaf)[None], replay), 20, 32)
    assert moved.observation.shape == (1, 3, rows_for(32), 3)
    for env, (_, plain) in enumerate(runs):
        alone = jax.tree.map(lambda leaf, e=env: jnp.asarray(leaf[0, e]), moved)
        assert_holds(Buffer(other.capacity, 4), alone, plain[-int(alone.size) :])


@pytest.mark.parametrize("envs", [1, 3])
def test_an_empty_one_can_be_given_another_size(envs):
    """As of a run that was interrupted before its first step: of its rings, only the first row is kept."""
    replay = jax.tree.map(lambda leaf: np.asarray(leaf)[None], Buffer(20, 4, envs).init(3, 2))
    kept = {"observation": [0], "action": [], "reward": [], "row": []}
    empty = replay._replace(
        **{name: np.take(getattr(replay, name), np.array(rows, int), replay.stored.ndim) for name, rows in kept.items()}
    )
    assert resized(empty, 20, 32).observation.shape == (*replay.stored.shape, rows_for(32), 3)
