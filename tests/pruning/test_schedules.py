"""The baselines' pruning: the schedule, the share that is left, and which units go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch, take_critic, take_others, tiny_config

from xinet_jax import agent as agents
from xinet_jax.errors import UserError
from xinet_jax.networks import complexity
from xinet_jax.pruning import compaction
from xinet_jax.pruning import schedules as pruners
from xinet_jax.training import run as runner


def make(key, **overrides):
    settings = {"agent": "magnitude", "gated": ("ofenet", "actor", "critic"), "prune_start": 25, "prune_ramp": 1000}
    config = tiny_config(**(settings | {"final_share": 0.3, "steps": 5000, "prune_every": 100} | overrides))
    agent = agents.make_agent(config, 17, 6)
    hyper = agents.make_hyper(config, 6)
    return agent, hyper, agents.init(agent, hyper, key)


def test_the_schedule_is_cubic_and_ends_at_the_final_share(key):
    rules = make(key)[0].pruning
    ages = [pruners.progress(rules, steps - rules.prune_start) for steps in (0, 25, 525, 1025, 9999)]
    shares = [float(pruners.target_share(rules.final_share, age)) for age in ages]
    np.testing.assert_allclose(shares, [1.0, 1.0, 0.3 + 0.7 * 0.5**3, 0.3, 0.3], rtol=1e-6)


@pytest.mark.parametrize("name", ["magnitude", "random"])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.3])
def test_as_many_units_are_left_as_the_share_allows(key, name, share):
    agent, _, state = make(key, agent=name)
    score = pruners.PRUNERS[name](agent.dense, state.params, state.alive, agent.dense, state.origin, key)
    alive = pruners.prune(agent.dense, agent.dense, score, state.alive, share)
    left = float(complexity.share(agent.dense, agent.dense, alive))
    assert left <= share + 1e-6
    if share == 1.0:
        assert left == 1.0
    else:  # one more unit in every layer would be too many
        more = jax.tree.map(
            lambda mask: jnp.sort(mask)[..., ::-1].at[..., int(mask[..., :].sum(-1).max())].set(1), alive
        )
        assert float(complexity.share(agent.dense, agent.dense, more)) > share
    fractions = [float(mask.mean()) for mask in jax.tree.leaves(alive)]
    assert max(fractions) - min(fractions) < 0.2, "every layer loses the same fraction, but for whole units"


def test_no_layer_of_actor_or_critic_is_emptied(key):
    agent, _, state = make(key)
    score = pruners.magnitude(agent.dense, state.params, state.alive, agent.dense, state.origin, key)
    alive = pruners.prune(agent.dense, agent.dense, score, state.alive, 0.0)
    assert [float(mask.sum()) for mask in jax.tree.leaves(alive["actor"])] == [1.0, 1.0]
    assert [mask.sum(-1).tolist() for mask in jax.tree.leaves(alive["critic"])] == [[1, 1], [1, 1]]
    assert sum(float(mask.sum()) for mask in jax.tree.leaves(alive["ofenet"])) == 0.0
    left = float(complexity.share(agent.dense, agent.dense, alive))
    assert left == pytest.approx(pruners.smallest_share(agent.dense, agent.gated))


def test_magnitude_is_the_norm_of_what_disappears_with_a_unit(key):
    """The squared size of the weights that compaction takes out, biases and normalisation apart."""
    agent, _, state = make(key)
    half = jax.tree.map(lambda mask: mask * (jnp.arange(mask.shape[-1]) % 3 > 0), state.alive)
    score = pruners.magnitude(agent.dense, state.params, half, agent.dense, state.origin, key)

    def size(alive):
        plan = compaction.plan(agent.dense, alive)
        trees = [take_others(plan, state.params), *(take_critic(plan, state.params, twin) for twin in range(2))]
        leaves = jax.tree.leaves_with_path(trees)
        return sum(float(np.square(leaf).sum()) for path, leaf in leaves if "kernel" in jax.tree_util.keystr(path))

    def without(*path, unit):
        less = jax.tree.map(lambda mask: mask, half)
        *parents, last = path
        layers = less
        for name in parents:
            layers = layers[name]
        layers[last] = (layers[last][0].at[unit].set(0.0), *layers[last][1:])
        return less

    for path in (("ofenet", "state"), ("ofenet", "action"), ("actor",), ("critic",)):
        scores = score
        for name in path:
            scores = scores[name]
        for unit in (1, 2, 4):
            index = (1, unit) if path == ("critic",) else unit
            gone = size(half) - size(without(*path, unit=index))
            assert float(scores[0][index]) == pytest.approx(gone, rel=1e-3), path


def test_the_smallest_units_go_first(key):
    agent, _, state = make(key)
    score = jax.tree.map(lambda mask: jnp.arange(mask.shape[-1]) * jnp.ones_like(mask), state.alive)
    alive = pruners.prune(agent.dense, agent.dense, score, state.alive, 0.5)
    for mask in jax.tree.leaves(alive):
        assert (np.diff(np.atleast_2d(mask), axis=-1) >= 0).all()


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_updates_follow_the_schedule_and_bring_nothing_back(key, name):
    agent, hyper, state = make(key, agent=name)
    update = jax.jit(lambda s, k, steps, n: agents.update(agent, hyper, s, random_batch(k), k, steps, n)[0])
    before = update(state, key, 24, 0)
    assert all((mask == 1).all() for mask in jax.tree.leaves(before.alive))
    for steps in (100, 400, 700, 1025, 2000):
        not_due = update(state, key, steps, 101)
        jax.tree.map(np.testing.assert_array_equal, not_due.alive, state.alive)
        after = update(state, jax.random.fold_in(key, steps), steps, 100)
        masks = zip(*map(jax.tree.leaves, (after.alive, state.alive)), strict=True)
        assert all((new <= old).all() for new, old in masks)
        due = pruners.target_share(0.3, pruners.progress(agent.pruning, steps - agent.pruning.prune_start))
        assert complexity.share(agent.dense, agent.dense, after.alive) <= due
        jax.tree.map(np.testing.assert_array_equal, after.theta, after.alive)
        state = after
    assert float(complexity.share(agent.dense, agent.dense, state.alive)) > 0.2


@pytest.mark.parametrize("name", ["magnitude", pytest.param("random", marks=pytest.mark.slow)])
def test_compaction_does_not_change_what_is_pruned_next(key, name):
    agent, hyper, state = make(key, agent=name)

    def update(agent, state, step, count):
        return jax.jit(lambda start: agents.update(agent, hyper, start, random_batch(key), key, step, count)[0])(state)

    early = update(agent, state, 200, 100)
    members = jax.tree.map(lambda leaf: leaf[None], early)
    widths = compaction.rounded_widths(agent.dense, members.alive, 2)
    assert widths != agent.dense
    smaller, compacted = agents.compact(agent, members, widths)
    compacted = jax.tree.map(lambda leaf: leaf[0], compacted)
    whole, small = (update(a, s, 1025, 200) for a, s in ((agent, early), (smaller, compacted)))

    def names(state):
        leaves = zip(*map(jax.tree.leaves, (state.alive, state.origin)), strict=True)
        return [np.asarray(origin)[np.asarray(alive) > 0.5].tolist() for alive, origin in leaves]

    assert names(whole) == names(small)


def test_scores_that_are_not_numbers_bring_nothing_back_and_empty_no_head(key):
    agent, _, state = make(key)
    half = jax.tree.map(lambda mask: mask * (jnp.arange(mask.shape[-1]) > 2), state.alive)
    broken = jax.tree.map(lambda mask: jnp.full_like(mask, jnp.nan), half)
    alive = pruners.prune(agent.dense, agent.dense, broken, half, 0.0)
    assert all((new <= old).all() for new, old in zip(*map(jax.tree.leaves, (alive, half)), strict=True))
    for name in ("actor", "critic"):
        assert all((mask.sum(axis=-1) == 1).all() for mask in alive[name])


@pytest.mark.parametrize(("agent", "name"), [("magnitude", "final_share"), ("xinet", "keep_share")])
def test_a_share_that_cannot_be_reached_is_told(tmp_path, agent, name):
    settings = {"agent": agent, "gated": ("ofenet",), "prune_start": 25, "prune_ramp": 10, "steps": 200}
    config = tiny_config(out=str(tmp_path / "run"), **{name: 0.01}, **settings)
    with pytest.raises(UserError, match=name + r" must be 0\.\d+ or more where only ofenet may lose units, not 0"):
        runner.train(config, progress=False)
    assert not (tmp_path / "run").exists()
