"""The compiled phases: what reaches replay, and that a member is the same whoever trains beside it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPTIMISED, random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.replay import Buffer
from xinet_jax.agent.state import Metrics
from xinet_jax.config import Round, round_of
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.evaluation_program import STREAM
from xinet_jax.training.program import make_program

# Agents that prune, in a program that several tests share: what they vary is how many members there are, and nu.
PRUNED = {"engine": "native", "gated": ("ofenet", "actor", "critic"), "steps": 200, "prune_start": 21, "prune_ramp": 0}
PRUNED |= {"theta_every": 3, "prune_every": 5}


def make(config, task=None):
    task = task or load_task(config.task, config.engine)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    buffer = Buffer(config.steps, config.sac.batch_size, config.envs)
    program = make_program(agent, task, buffer, config.eval_episodes, make_mesh(1, 1), round_of(config).updates)
    return program, lambda count: hyper_of(config, task, count)


@functools.cache
def shared_program():
    """Returns the program of `PRUNED` and its task."""
    config = tiny_config(**PRUNED)
    task = load_task(config.task, config.engine)
    return make(config, task)[0], task


def shared(nu):
    """Returns the program of `PRUNED`, and the hyper-parameters of some members by their number."""
    program, task = shared_program()
    return program, lambda count: hyper_of(tiny_config(nu=nu, **PRUNED), task, count)


def hyper_of(config, task, count):
    return members.hyper_of_members(config, task.action_size, members.identities(config)[:1] * count)


def stored(buffer, replay):
    """Returns all of each member's transitions by slot, `[members, capacity, ...]`."""
    return jax.tree.map(np.asarray, jax.vmap(buffer.transitions, (0, None))(replay, jnp.arange(buffer.capacity)))


def run_ten_updates(program, hyper, seeds):
    """Returns the parameters at the start, and members and tally after ten updates."""
    state = program.init(hyper, jnp.asarray(seeds, jnp.int32))
    start = jax.tree.map(np.array, state.agent.params)
    state, _ = program.collect(state, 20)
    state, _ = program.pretrain(hyper, state, 3)
    # Two chunks, so that the seam is tested too.
    state, _ = program.train(hyper, state, 20, 4, 0)
    state, tally = program.train(hyper, state, 24, 6, 4)
    return start, *jax.tree.map(np.asarray, (state, tally))


# Batched products round differently, and thirty steps of physics amplify it: MJX, which simulates in float32, more than
# the C engine in float64. Where a gradient is almost nothing, Adam turns its rounding into whole steps. Another seed's
# agent differs by more than its own movement.
@pytest.mark.parametrize(("engine", "tolerance"), [("native", 5e-3), pytest.param("mjx", 0.1, marks=pytest.mark.slow)])
def test_members_are_what_they_would_be_alone(engine, tolerance, monkeypatch):
    if engine == "mjx":  # rounding is worse, and thrice amplified, without LLVM's optimisation
        monkeypatch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options=OPTIMISED))
    program, hyper = shared(20.0) if engine == "native" else make(tiny_config(nu=20.0, **PRUNED | {"engine": engine}))
    start, together, _ = run_ten_updates(program, hyper(3), [4, 5, 6])
    assert (together.agent.theta["ofenet"]["state"][0] < 1).any(), "theta must have moved"
    for member in range(3):
        own_start, alone, _ = run_ten_updates(program, hyper(1), [4 + member])
        moved = jax.tree.map(lambda end, begin, m=member: end[m] - begin[m], together.agent.params, start)
        moved_alone = jax.tree.map(lambda end, begin: end[0] - begin[0], alone.agent.params, own_start)
        assert_close(moved, moved_alone, tolerance)
        rest = together._replace(agent=together.agent._replace(params=(), optimiser=()))
        rest_alone = alone._replace(agent=alone.agent._replace(params=(), optimiser=()))
        assert_close(jax.tree.map(lambda leaf, m=member: leaf[m], rest), select_only(rest_alone), tolerance)


def assert_close(ours, theirs, tolerance):
    """Asserts that each array's difference is small in norm, beside the array itself."""
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        name = jax.tree_util.keystr(path)
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b) + 1e-7, name


def select_only(members):
    return jax.tree.map(lambda leaf: leaf[0], members)


def test_replay_holds_what_happened():
    config = tiny_config(task="Hopper-v5", engine="native", steps=400, prune_start=300)
    program, hyper = make(config)
    state = program.init(hyper(2), jnp.arange(2))
    first = np.asarray(state.task.observation)
    state, tally = program.collect(state, 300)
    assert (tally.episodes > 1).all(), "a random Hopper falls within a few dozen steps"
    content = stored(Buffer(400, 16), state.replay)
    np.testing.assert_array_equal(np.asarray(state.replay.stored), 300)
    observation, following = content.observation[:, :300], content.next_observation[:, :300]
    continues, reward = content.continues[:, :300], content.reward[:, :300]
    np.testing.assert_array_equal(observation[:, 0], first)
    assert (np.abs(content.action) <= 1).all()
    for member in range(2):
        ends = np.flatnonzero(continues[member] == 0)
        assert len(ends) == tally.episodes[member]
        goes_on = np.setdiff1d(np.arange(299), ends)
        np.testing.assert_array_equal(following[member, goes_on], observation[member, goes_on + 1])
        # At an end the true last observation is stored, and the next row begins a new episode near rest.
        assert (np.abs(following[member, ends[:-1]] - observation[member, ends[:-1] + 1]).max(axis=1) > 0.05).all()
        returns = np.split(reward[member], ends + 1)[:-1]
        np.testing.assert_allclose(tally.episode_return[member], sum(r.sum() for r in returns), rtol=1e-4)
        assert tally.episode_length[member] == sum(map(len, returns))


@pytest.mark.parametrize(
    ("count", "envs", "ratio"),
    [
        (1, 1, 1),
        pytest.param(2, 1, 1, marks=pytest.mark.slow),
        pytest.param(1, 3, "1/3", marks=pytest.mark.slow),
        (2, 3, 1),
    ],
)
def test_no_step_copies_the_replay(count, envs, ratio):
    config = tiny_config(steps=4321, engine="native", envs=envs, update_ratio=ratio)
    program, hyper = make(config)
    state = program.init(hyper(count), jnp.arange(count))
    compiled = program.train.lower(hyper(count), state, 20, 1, 0).compile().as_text()
    whole = [
        line for line in compiled.splitlines() if " copy(" in line and re.search(r"\[(\d,)*(4321|4594)[,\]]", line)
    ]
    assert not whole, whole[0]
    members = ("" if count == 1 else f"{count},") + ("" if envs == 1 else f"{envs},")
    assert f"[{members}4594,17]" in compiled, "the observations are recognised by their shape"
    assert f"[{members}4321,6]" in compiled


def test_a_minibatch_is_drawn_before_the_step_is_stored(monkeypatch):
    """So a GPU can update while the host steps the physics."""

    def only_look(agent, hyper, state, batch, key):
        spread = jnp.abs(batch.observation - batch.observation[0]).max()
        return state, Metrics(*[jnp.zeros(())] * len(Metrics._fields))._replace(critic_loss=spread)

    monkeypatch.setattr(agents, "update_weights", only_look)
    program, hyper = make(tiny_config(agent="sac", engine="native"))
    state, _ = program.collect(program.init(hyper(1), jnp.arange(1)), 1)
    state, tally = program.train(hyper(1), state, 1, 1, 0)
    assert tally.metrics.critic_loss == 0, "replay held one transition"
    _, tally = program.train(hyper(1), state, 2, 1, 1)
    assert tally.metrics.critic_loss > 0, "and now holds two"


@pytest.mark.parametrize("agent", ["sac", "xinet", "magnitude"])
def test_a_gpu_asks_the_host_for_nothing_in_a_step(agent, monkeypatch):
    """A branch's predicate is read by the host, which waits for the GPU. What is due is decided between the steps."""
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    rules = {"prune_start": 25, "prune_ramp": 10} if agent == "magnitude" else {}
    program, hyper = make(tiny_config(agent=agent, engine="native", **rules))
    state = jax.eval_shape(program.init, hyper(2), jnp.arange(2))
    text = str(program.train.trace(hyper(2), state, jnp.int32(20), jnp.int32(1), jnp.int32(0)).jaxpr)
    assert " while[" in text
    assert " cond[" not in text


def test_what_accelerators_run_computes_the_same(monkeypatch):
    """Their branches of the code, here on the CPU: from the same start to the same agents, but for rounding."""
    ends = []
    for branch in ("cpu", "default"):
        with monkeypatch.context() as patch:
            program, hyper = shared(20.0)
            if branch == "default":
                patch.setattr(jax.lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
                program, _ = make(tiny_config(**PRUNED))
            state, _ = program.collect(program.init(hyper(3), jnp.arange(3)), 20)
            state, _ = program.train(hyper(3), state, 20, 10, 0)
        ends.append(jax.tree.map(np.asarray, state))
    np.testing.assert_array_equal(ends[0].key, ends[1].key)
    assert (ends[0].agent.theta["ofenet"]["state"][0] < 1).any(), "theta must have moved"
    assert_close(ends[1], ends[0], 5e-3)


def test_theta_and_pruning_come_at_their_times_however_long_chunks_are():
    """In one chunk, in chunks of one, and in uneven ones: the same agents to the last bit."""
    program, hyper = shared(500.0)
    ends = []
    for chunks in ([17], [1] * 17, [2, 9, 1, 5]):
        state, _ = program.collect(program.init(hyper(3), jnp.arange(3)), 20)
        done = 0
        for count in chunks:
            state, _ = program.train(hyper(3), state, 20 + done, count, done)
            done += count
        ends.append(jax.tree.map(np.asarray, state))
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[2])
    assert (ends[0].agent.theta["ofenet"]["state"][0] < 1).any()


@pytest.mark.parametrize(
    ("envs", "updates"), [(4, 3), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((4, 1), (2, 6)))]
)
def test_rounds_of_several_environments_come_at_their_times(envs, updates):
    """In one chunk and in uneven ones: the same agents to the last bit, with what is due by steps and updates."""
    every = {"theta_every": 2 * updates, "prune_every": 3 * updates, "prune_start": 20 + 3 * envs}
    config = tiny_config(
        engine="native", steps=200, prune_ramp=0, nu=500.0, envs=envs, update_ratio=updates / envs, **every
    )
    program, hyper = make(config)
    ends, tallies = [], []
    for chunks in ([9], [2, 1, 6]):
        state, _ = program.collect(program.init(hyper(2), jnp.arange(2)), 20 // envs)
        done, total = 0, 0
        for count in chunks:
            before = np.asarray(state.agent.theta["ofenet"]["state"][0])
            state, tally = program.train(hyper(2), state, 20 + done * envs, count, done * updates)
            done, total = done + count, total + np.asarray(tally.updates)
            if done <= 2:
                np.testing.assert_array_equal(before, state.agent.theta["ofenet"]["state"][0])
        ends.append(jax.tree.map(np.asarray, state))
        tallies.append(total)
    jax.tree.map(np.testing.assert_array_equal, ends[0], ends[1])
    np.testing.assert_array_equal(tallies, 9 * updates)
    np.testing.assert_array_equal(ends[0].replay.stored.sum(axis=1), 20 + 9 * envs)
    assert (ends[0].agent.theta["ofenet"]["state"][0] < 1).any(), "theta must have moved"


def test_environments_of_a_member_are_apart():
    """Each has episodes of its own, which begin near rest, end by themselves, and are stored in order."""
    config = tiny_config(task="Hopper-v5", engine="native", agent="sac", steps=1200, envs=3)
    program, hyper = make(config)
    state = program.init(hyper(1), jnp.arange(1))
    first = np.asarray(state.task.observation[0])
    assert len({row.tobytes() for row in first}) == 3
    state, tally = program.collect(state, 300)
    buffer, lengths = Buffer(1200, 16), []
    for env in range(3):
        content = stored(buffer, jax.tree.map(lambda leaf, e=env: leaf[:, e], state.replay))
        observation, following, continues = (
            part[0, :300] for part in (content.observation, content.next_observation, content.continues)
        )
        np.testing.assert_array_equal(observation[0], first[env])
        ends = np.flatnonzero(continues == 0)
        goes_on = np.setdiff1d(np.arange(299), ends)
        np.testing.assert_array_equal(following[goes_on], observation[goes_on + 1])
        assert (np.abs(following[ends[:-1]] - observation[ends[:-1] + 1]).max(axis=1) > 0.05).all()
        lengths.append(np.diff(ends, prepend=-1))
    assert int(tally.episodes[0]) == sum(map(len, lengths)) > 3
    assert int(tally.episode_length[0]) == sum(map(np.sum, lengths))
    assert len({of_env.tobytes() for of_env in lengths}) == 3


@pytest.mark.parametrize("cycle", [Round(), Round(4, 1), Round(2, 4)])
def test_updates_until_something_is_due(cycle):
    """`until_due` ends each stretch at the first round at which `schedule` has anything due."""
    rules = {"steps": 500, "prune_start": 40, "prune_ramp": 0, "theta_every": 8, "prune_every": 20}
    steps = lambda i: 20 + (1 + i) * cycle.steps  # noqa: E731
    for agent in (
        agents.make_agent(tiny_config(agent=name, **rules_of), 17, 6)
        for name, rules_of in (
            ("xinet", rules | {"prune_stop": 120}),
            ("magnitude", {"steps": 500, "prune_start": 40, "prune_ramp": 100, "prune_every": 20}),
        )
    ):
        due = lambda i, a=agent: any(map(bool, agents.schedule(a, steps(i), i * cycle.updates)))  # noqa: E731
        until_due = jax.jit(lambda i, a=agent: agents.until_due(a, steps(i), i * cycle.updates, jnp.int32(60), cycle))
        for start in range(110):
            count = int(until_due(jnp.int32(start)))
            assert 1 <= count <= 60
            assert not any(map(due, range(start, start + count - 1)))
            if count < 60 and steps(start + count) <= 120:
                assert due(start + count - 1)


def test_a_diverged_member_stays_as_it_was_and_the_others_do_not_notice():
    """A NaN as the reward of one member's newest transition: it is drawn sooner or later."""
    program, hyper = shared(20.0)

    def run(poison):
        state = program.init(hyper(3), jnp.arange(3))
        state, _ = program.collect(state, 100)
        state, _ = program.train(hyper(3), state, 100, 5, 0)
        if poison:
            reward = state.replay.reward.at[1, 60].set(jnp.nan)
            state = state._replace(replay=state.replay._replace(reward=reward))
        history = []
        for step in range(105, 145):
            history.append(jax.tree.map(np.array, state.agent))
            state, tally = program.train(hyper(3), state, step, 1, step - 100)
        return history, *jax.tree.map(np.asarray, (state, tally))

    (history, state, tally), (healthy, whole, _) = run(True), run(False)
    diverged = [bool(agent.diverged[1]) for agent in history]
    assert not diverged[0]
    assert diverged[-1]
    first = diverged.index(True)
    assert first > 1, "it must have learnt something after the poison was laid"
    of = lambda agent, member: jax.tree.map(lambda leaf: leaf[member], agent._replace(diverged=()))  # noqa: E731
    equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)  # noqa: E731
    equal(of(history[first - 1], 1), of(healthy[first - 1], 1))
    equal(of(state.agent, 1), of(history[first - 1], 1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(of(state.agent, 1)))
    earlier, later = (state.params["temperature"][1] for state in (history[0], history[first - 1]))
    assert earlier != later
    assert list(state.agent.diverged) == [False, True, False]
    for member in (0, 2):
        equal(*(jax.tree.map(lambda leaf, m=member: leaf[m], run) for run in (state, whole)))
    assert np.isfinite(tally.metrics.critic_loss[[0, 2]]).all()
    agent = agents.make_agent(tiny_config(**PRUNED), 17, 6)
    settled = jax.vmap(lambda one: agents.settle(agent, one, random_batch(jax.random.PRNGKey(0))))(state.agent)
    equal(of(settled, 1), of(state.agent, 1))
    assert (settled.theta["ofenet"]["state"][0] != state.agent.theta["ofenet"]["state"][0]).any()


def test_ofenet_that_diverges_alone_stays_as_it_was():
    program, hyper = shared(20.0)
    state, _ = program.collect(program.init(hyper(3), jnp.arange(3)), 20)
    bad = state.replay.observation.at[0, 1:].set(jnp.inf)
    before = jax.tree.map(np.array, state.agent)
    state, _ = program.pretrain(hyper(3), state._replace(replay=state.replay._replace(observation=bad)), 3)
    assert list(state.agent.diverged) == [True, False, False]
    for old, new in zip(
        jax.tree.leaves(before), jax.tree.leaves(state.agent._replace(diverged=before.diverged)), strict=True
    ):
        np.testing.assert_array_equal(old[0], new[0])
    moved = jax.tree.map(
        lambda old, new: (old[1] != new[1]).any(), before.params["ofenet"], state.agent.params["ofenet"]
    )
    assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize("broken", [pytest.param("reward", marks=pytest.mark.slow), "observation"])
def test_transitions_that_are_not_finite_never_enter_replay(broken):
    """Whenever a HalfCheetah moves forward fast, its reward or observation is not a number."""
    config = tiny_config(engine="native", steps=50)
    task = load_task(config.task, config.engine)
    too_fast = lambda physics: physics.qvel[0] > 0.5  # noqa: E731
    definition = task.definition
    if broken == "reward":
        spoil = lambda *parts: {"forward": jnp.where(too_fast(parts[2]), jnp.nan, 1.0)}  # noqa: E731
        definition = definition._replace(reward_terms=spoil)
    else:
        spoil = lambda physics: jnp.where(too_fast(physics), jnp.inf, task.definition.observe(physics))  # noqa: E731
        definition = definition._replace(observe=spoil)
    program, hyper = make(config, task._replace(definition=definition))
    state, tally = program.collect(program.init(hyper(2), jnp.arange(2)), 120)
    bad = np.asarray(tally.bad_transitions)
    assert (bad > 2).all()
    assert (120 - bad > 50).all(), "the buffer must have been written round"
    content = stored(Buffer(50, 16), state.replay)
    assert all(np.isfinite(leaf).all() for leaf in content)
    np.testing.assert_array_equal(np.asarray(state.replay.stored), 120 - bad)
    # Episodes start anew after one: nothing goes on from what was not stored.
    assert (content.observation[..., 8] <= 0.5).all()
    assert np.isfinite(np.asarray(state.task.episode_return)).all()
    assert (np.asarray(tally.episodes) == 0).all(), "a broken episode has no return"
    state, tally = program.train(hyper(2), state, 120, 20, 0)
    assert not np.asarray(state.agent.diverged).any()


def test_truncated_steps_go_on_in_replay():
    config = tiny_config(engine="native", steps=1200, random_steps=1100, prune_start=1150)
    program, hyper = make(config)
    state, tally = program.collect(program.init(hyper(1), jnp.arange(1)), 1001)
    assert tally.episodes[0] == 1
    assert tally.episode_length[0] == 1000
    content = stored(Buffer(1200, 16), state.replay)
    assert content.continues[0, 999] == 1.0
    assert np.abs(content.next_observation[0, 999] - content.observation[0, 1000]).max() > 0.05


def test_evaluation_is_what_stepping_by_hand_gives():
    config = tiny_config(task="Hopper-v5", engine="native", eval_episodes=3)
    program, hyper = make(config)
    task = load_task("Hopper-v5", "native")
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    state = program.init(hyper(2), jnp.arange(2))
    returns = program.evaluate(state.agent, jnp.arange(2))
    act = jax.jit(lambda s, o: agents.act(agent, s, o, None))
    step = jax.jit(lambda s, a: tasks.step(task, s, a))
    lengths = set()
    for member in range(2):
        one = members.select(state.agent, member)
        key = jax.random.fold_in(jax.random.PRNGKey(member), STREAM)
        for episode, key_episode in enumerate(jax.random.split(key, 3)):
            current, ended, total = tasks.reset(task, key_episode), False, 0.0
            while not ended:
                current, outcome = step(current, act(one, current.observation))
                total, ended = total + float(outcome.reward), bool(outcome.ended)
            lengths.add(int(current.elapsed))
            assert returns[member, episode] == pytest.approx(total, rel=1e-3)
    assert len(lengths) > 1, "episodes of different lengths must have been compared"
