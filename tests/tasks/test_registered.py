"""Environments of Gymnasium's registry: stepped on the host, from compiled programs, with episodes of their own."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tasks import environments

from xinet_jax.config import make_config
from xinet_jax.errors import UserError
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.engines.vector import TURNS, Vector, Vectors, _mode
from xinet_jax.tasks.registry import check_name, describe_task, load_task

NAME = "gymnasium/XinetCounter-v0"


def rollout(task, actions, count, seed=0):
    """Returns the states and outcomes of some environments, `[steps, envs, ...]`, from a compiled program."""

    @jax.jit
    def run(actions):
        state = jax.vmap(lambda key: tasks.reset(task, key))(jax.random.split(jax.random.PRNGKey(seed), count))

        def step(state, action):
            keys = jax.random.split(jax.random.PRNGKey(0), count)
            after, outcome = jax.vmap(lambda *each: tasks.step_and_reset(task, *each))(state, action, keys)
            return after, (state, outcome)

        return jax.lax.scan(step, state, actions)[1]

    return jax.tree.map(np.asarray, run(actions))


def test_episodes_are_the_environments_own():
    """Observations as numbers, ends of both kinds, and the first observation of the next episode after the last."""
    task = load_task(NAME, length=3)
    assert (task.observation_size, task.action_size, task.definition.episode_length) == (5, 2, 100)
    assert task.dt == pytest.approx(0.02)
    actions = np.random.default_rng(0).uniform(-1, 1, (13, 2, 2)).astype(np.float32)
    states, outcomes = rollout(task, jnp.asarray(actions), 2)
    # The first episode has three steps, the next four, then five.
    np.testing.assert_array_equal(np.flatnonzero(outcomes.terminated[:, 0]), [2, 11])
    np.testing.assert_array_equal(np.flatnonzero(outcomes.truncated[:, 0]), [6])
    np.testing.assert_array_equal(states.elapsed[:, 0], [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0])
    # The count is the first number of what is observed: a whole number in the environment.
    np.testing.assert_array_equal(states.observation[:, 0, 0], states.elapsed[:, 0])
    np.testing.assert_array_equal(outcomes.observation[:, 0, 0], states.elapsed[:, 0] + 1)
    # The last observation of an episode is its own, and the next episode begins elsewhere.
    assert (np.abs(outcomes.observation[2, 0, 1:] - states.observation[3, 0, 1:]) > 0.05).all()
    np.testing.assert_array_equal(outcomes.observation[0], states.observation[1])
    # Rewards are the first action, from -1 to 3.
    np.testing.assert_allclose(outcomes.reward, 1.0 + 2.0 * actions[..., 0], rtol=1e-6)
    np.testing.assert_allclose(outcomes.episode_return[2], outcomes.reward[:3].sum(axis=0), rtol=1e-6)
    assert (states.observation[0, 0] != states.observation[0, 1]).any(), "each environment has a seed of its own"


def test_what_is_not_finite_ends_the_episode_and_the_next_begins():
    task = load_task(NAME, nan_at=2)
    actions = np.zeros((6, 1, 2), np.float32)
    actions[3] = np.nan
    states, outcomes = rollout(task, jnp.asarray(actions), 1)
    np.testing.assert_array_equal(outcomes.finite[:, 0], [True, False, True, False, True, True])
    np.testing.assert_array_equal(states.elapsed[:, 0], [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(states.observation[:, 0, 0], states.elapsed[:, 0])


def test_steps_are_those_of_the_environment_itself():
    """Pendulum's observations and rewards, from the same seed and actions."""
    task = load_task("gymnasium/Pendulum-v1")
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1, 1)).astype(np.float32)
    states, outcomes = rollout(task, jnp.asarray(actions), 1)
    key = jax.random.split(jax.random.PRNGKey(0), 1)[0]
    seed = int(jax.random.randint(key, (1,), 0, 2**24)[0])
    environment = gymnasium.make("Pendulum-v1")
    observation, _ = environment.reset(seed=seed)
    for step, action in enumerate(actions[:, 0]):
        np.testing.assert_allclose(states.observation[step, 0], observation, rtol=1e-6)
        observation, reward, *_ = environment.step(2.0 * action)
        np.testing.assert_allclose(outcomes.reward[step, 0], reward, rtol=1e-6)


def test_the_same_seeds_begin_the_same_episodes():
    task = load_task(NAME)
    zeros = jnp.zeros((4, 2, 2))
    first, again, other = (rollout(task, zeros, 2, seed)[0].observation for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_turn_that_is_asked_for_twice_is_taken_once():
    vector = Vector("XinetCounter-v0", {}, [1, 2], 0.0)
    vector.reset()
    action = np.ones((2, 2), np.float32)
    one, again, two = vector.step(0, action), vector.step(0, action), vector.step(1, action)
    np.testing.assert_array_equal(one.observation, again.observation)
    np.testing.assert_array_equal(two.observation[:, 0], 2)
    with pytest.raises(RuntimeError, match="asked for step 5 after 1"):
        vector.step(5, action)
    vector._turn = TURNS - 1
    vector.step(TURNS - 1, action)
    np.testing.assert_array_equal(vector.step(0, action).observation[:, 0], 4)
    vector.close()


def test_devices_and_seeds_have_environments_of_their_own():
    """Also members of one seed, and different prices, on two devices."""
    vectors = Vectors("XinetCounter-v0", {}, 5, 0.0)
    calls = [(0, 7, 8), (1, 7, 8), (0, 8, 7), (0, 7, 8)]
    first = [vectors.reset(np.float32([[device, seed] for seed in seeds])) for device, *seeds in calls]
    assert [rows[0, 0] for rows in first] == [0, 1, 2, 0]
    np.testing.assert_array_equal(first[0][:, 2:], first[1][:, 2:])
    np.testing.assert_array_equal(first[0][:, 2:], first[2][::-1, 2:])
    packed = lambda number: np.float32([[number, place, 0, 0.0, 0.1] for place in (0, 1)])  # noqa: E731
    for number in (0, 1):
        np.testing.assert_array_equal(vectors.step(packed(number))[:, 0], 1)
    assert np.isnan(vectors.step(packed(0)[::-1])).all()
    assert "not in their order" in vectors.failure.summary
    vectors.close()


def test_in_processes_they_are_the_same():
    actions = np.random.default_rng(0).uniform(-1, 0.5, (9, 3, 2)).astype(np.float32)
    results = []
    for mode in ("sync", "async"):
        vector = Vector("XinetCounter-v0", {"vectorization_mode": mode, "length": 2}, [1, 2, 3], 0.0)
        starts = vector.reset()
        steps = [vector.step(turn, action) for turn, action in enumerate(actions)]
        results.append((starts, *map(np.stack, zip(*steps, strict=True))))
        vector.close()
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert results[0][3].any(), "some must have ended"


def test_slow_environments_have_processes(monkeypatch):
    monkeypatch.setattr("xinet_jax.tasks.engines.vector.available_cores", lambda: 4)
    assert _mode(8, 2e-3) == "sync", "the main module may not bear to be imported again"
    monkeypatch.setattr("xinet_jax.tasks.engines.vector._is_command_line", lambda: True)
    assert _mode(8, 2e-3) == "async"
    assert _mode(8, 2e-5) == _mode(1, 2e-3) == _mode(64, 2e-3) == "sync"


def test_a_first_observation_that_is_not_finite_ends_the_episode(monkeypatch):
    """It is the first of a transition that must not be stored."""
    reset = environments.Counter.reset

    def sometimes(self, *, seed=None, options=None):
        observation, info = reset(self, seed=seed, options=options)
        if self.episode == 1:
            observation["position"][0, 0] = np.inf
        return observation, info

    monkeypatch.setattr(environments.Counter, "reset", sometimes)
    states, outcomes = rollout(load_task(NAME, length=2), jnp.zeros((7, 1, 2)), 1)
    np.testing.assert_array_equal(outcomes.finite[:, 0], [True, True, False, True, True, True, True])
    np.testing.assert_array_equal(states.elapsed[:, 0], [0, 1, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(states.observation[:, 0, 0], states.elapsed[:, 0])


def test_a_worker_that_dies_is_told_and_holds_nothing_up():
    vectors = Vectors("XinetCounter-v0", {"vectorization_mode": "async"}, 5, 0.0)
    number = vectors.reset(np.float32([[0, 1], [0, 2]]))[0, 0]
    packed = np.float32([[number, place, 0, 0.0, 0.1] for place in (0, 1)])
    assert np.isfinite(vectors.step(packed)).all()
    workers = vectors._vectors[0]._environments.processes
    workers[1].kill()
    packed[:, 2] = 1
    assert np.isnan(vectors.step(packed)).all()
    assert vectors.failure is not None
    vectors.close()
    workers[0].join(10)
    assert not any(worker.is_alive() for worker in workers)


def test_an_environment_that_is_registered_anew_is_made_anew(monkeypatch):
    first = load_task(NAME)
    rollout(first, jnp.zeros((2, 1, 2)), 1)
    monkeypatch.setattr(environments.Counter, "_observation", lambda self: self.observation_space.sample())
    states, _ = rollout(load_task(NAME), jnp.zeros((2, 1, 2)), 1)
    assert states.observation[1, 0, 0] != 1
    assert first.engine.host is not load_task(NAME).engine.host


def test_an_exception_is_kept_and_gives_what_is_not_finite():
    task = load_task(NAME, raises_at=15)  # later than it is tried out
    _, outcomes = rollout(task, jnp.zeros((18, 1, 2)), 1)
    np.testing.assert_array_equal(outcomes.finite[:, 0], [True] * 14 + [False] * 4)
    failure = task.engine.host.failure
    assert failure.summary == "ValueError: the arm fell off"
    assert "environments.py" in failure.trace
    assert "rolled away" in failure.trace


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("XinetCountr-v0", {}, "unknown environment of Gymnasium 'XinetCountr-v0': did you mean 'XinetCounter-v0'"),
        ("CartPole-v1", {}, "actions must be continuous numbers .* not Discrete"),
        ("XinetSpaceDiscrete-v0", {}, "actions must be continuous numbers .* not Discrete"),
        ("XinetSpaceWhole-v0", {}, "actions must be continuous numbers .* int64"),
        ("XinetSpaceUnbounded-v0", {}, "actions must have finite bounds"),
        ("XinetSpacePicture-v0", {}, r"observations must be numbers .* \(64, 64, 3\)"),
        ("XinetSpaceNames-v0", {}, "observations must be numbers .* not Text"),
        ("XinetMissing-v0", {}, "pip install xinet_missing_module"),
        ("XinetEndless-v0", {}, "has no time limit: .*max_episode_steps=1000"),
        ("XinetCounter-v0", {"vectorization_mode": "asynch"}, "vectorization_mode 'asynch': did you mean 'async'"),
        ("XinetCounter-v0", {"render_mode": "human"}, "render_mode is no option of an environment"),
        ("XinetCounter-v0", {"length": "os:path"}, "task option length must be .* a name without a colon"),
        ("XinetCounter-v0", {"length": float("nan")}, "task option length must be a number"),
        ("XinetCounter-v0", {"max_episode_steps": 3_000_000_000}, "max_episode_steps must be from 1 to 1048576"),
        ("XinetCounter-v0", {"wings": 2}, "with task options wings=2: TypeError"),
        ("XinetCounter-v0", {"raises_at": 1}, "XinetCounter-v0 .*cannot run.*the arm fell off"),
    ],
)
def test_what_is_not_supported_is_told_in_one_line(name, options, words):
    with pytest.raises(UserError, match=words) as error:
        load_task(f"gymnasium/{name}", **options)
    assert "\n" not in str(error.value)


def test_a_time_limit_can_be_chosen():
    assert load_task("gymnasium/XinetEndless-v0", max_episode_steps=7).definition.episode_length == 7


def test_a_name_imports_no_module():
    for name in ("gymnasium/os:Pendulum-v1", "gymnasium/", "gymnasium/a b", "Pendulum-v1"):
        with pytest.raises(UserError, match=r"unknown task .*; gymnasium/NAME for any environment of Gymnasium"):
            check_name(name)


def test_a_configuration_takes_them():
    config = make_config(NAME, task_options=("length=4",))
    assert str(config.run_folder) == "runs/gymnasium-XinetCounter-v0-xinet-quick"
    with pytest.raises(UserError, match="runs on engine gymnasium, not on mjx"):
        make_config(NAME, engine="mjx")


def test_they_are_described():
    description = describe_task(NAME)
    assert (description["observation"], description["action"], description["engines"]) == (5, 2, ["gymnasium"])
    assert description["episode_length"] == 100
    assert environments.Counter.metadata["render_fps"] * description["seconds_per_step"] == 1
