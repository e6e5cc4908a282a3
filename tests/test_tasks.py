"""Parity with Gymnasium's own environments, and what a task adds to its physics."""

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
import pytest

from xinet_jax.errors import UserError
from xinet_jax.tasks import registry
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.physics import Physics, make_engine
from xinet_jax.tasks.registry import load_task, task_names
from xinet_jax.tasks.task import TaskState


def gymnasium_steps(name, steps=200, seed=3):
    """Yields (physics before, action, observation, reward, terminated, truncated, info) of a random rollout."""
    with quiet_deprecations():
        environment = gymnasium.make(name)
    generator = np.random.default_rng(seed)
    observation, _ = environment.reset(seed=seed)
    for _ in range(steps):
        data = environment.unwrapped.data
        before = Physics(jnp.asarray(data.qpos, jnp.float32), jnp.asarray(data.qvel, jnp.float32))
        action = generator.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = environment.step(action)
        yield before, action, observation, reward, terminated, truncated, info
        if terminated or truncated:
            environment.reset()


def state_at(task, physics):
    return TaskState(physics, task.definition.observe(physics), jnp.int32(0), jnp.float32(0))


def errors(name, engine):
    """Returns a random rollout of Gymnasium's, the outcome of each of its steps on an engine, and relative errors."""
    rollout = list(gymnasium_steps(name))
    before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(row[0] for row in rollout))
    actions = jnp.stack([row[1] for row in rollout])
    task = load_task(name, engine)
    states = jax.vmap(lambda physics: state_at(task, physics))(before)
    _, outcome = jax.jit(jax.vmap(lambda s, a: tasks.step(task, s, a)))(states, actions)
    relative = lambda ours, theirs: np.abs(ours - theirs) / (1 + np.abs(theirs))  # noqa: E731
    errors = {
        "observation": relative(outcome.observation, np.stack([row[2] for row in rollout])),
        "reward": relative(outcome.reward, np.array([row[3] for row in rollout])),
    }
    for term, values in outcome.reward_terms.items():
        errors[term] = relative(values, np.array([row[6][term] for row in rollout]))
    np.testing.assert_array_equal(outcome.terminated, [row[4] for row in rollout])
    if "Cheetah" not in name:
        assert outcome.terminated.any(), "the rollout must contain terminations for their parity to mean anything"
    return errors


# HalfCheetah compiles in seconds; the others take a minute each on two cores.
_MJX = [pytest.param(name, marks=[] if name == "HalfCheetah-v5" else pytest.mark.slow) for name in task_names()]


@pytest.mark.parametrize("name", task_names())
def test_native_parity_with_gymnasium(name):
    for what, error in errors(name, "native").items():
        assert error.max() < 1e-4, what


@pytest.mark.parametrize("name", _MJX)
def test_mjx_parity_with_gymnasium(name):
    """In float32 most steps agree to 1e-5; a step in which a contact is about to open or close can be far off."""
    for what, error in errors(name, "mjx").items():
        assert np.median(error) < 2e-5, what
        assert np.quantile(error, 0.95) < 5e-4, what
        assert error.max() < 2e-2, what


@pytest.mark.parametrize("name", _MJX)
def test_mjx_is_the_same_physics_in_float64(name):
    """What is left of the difference in float64 is nothing: MJX's errors are float32's."""
    definition = registry._DEFINITIONS[name]
    with quiet_deprecations():
        model = mujoco.MjModel.from_xml_path(str(registry._ASSETS / definition.xml))
    rollout = list(gymnasium_steps(name, steps=100))
    start = [np.stack([np.asarray(row[0][i], np.float64) for row in rollout]) for i in range(2)]
    controls = np.stack([row[1] for row in rollout]).astype(np.float64)
    initial = np.concatenate([np.zeros((len(rollout), 1)), *start], axis=1)
    repeated = np.repeat(controls[:, None], definition.frame_skip, axis=1)
    exact = mujoco.rollout.rollout(model, mujoco.MjData(model), initial, repeated)[0][:, -1, 1:]
    with jax.enable_x64(True):
        engine = make_engine("mjx", model, definition.frame_skip)
        after = jax.jit(jax.vmap(engine))(Physics(*map(jnp.asarray, start)), jnp.asarray(controls))
        ours = np.concatenate([after.qpos, after.qvel], axis=1)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", task_names())
def test_sizes_and_limits_are_gymnasiums(name):
    with quiet_deprecations():
        environment = gymnasium.make(name)
    task = load_task(name, "native")
    assert environment.observation_space.shape == (task.observation_size,)
    assert environment.action_space.shape == (task.action_size,)
    np.testing.assert_array_equal(environment.action_space.low, -1.0)
    np.testing.assert_array_equal(environment.action_space.high, 1.0)
    assert task.dt == pytest.approx(environment.unwrapped.dt)
    assert task.definition.episode_length == environment.spec.max_episode_steps


@pytest.mark.parametrize("name", task_names())
def test_reset_noise_is_distributed_as_gymnasiums(name):
    with quiet_deprecations():
        environment = gymnasium.make(name)
    task = load_task(name, "native")
    theirs = np.stack([environment.reset(seed=seed)[0] for seed in range(1000)])
    ours = jax.vmap(lambda k: tasks.reset(task, k).observation)(jax.random.split(jax.random.PRNGKey(1), 1000))
    spread = theirs.std(axis=0)
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.2 * spread.max())
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.12)
    np.testing.assert_allclose(np.abs(ours).max(axis=0), np.abs(theirs).max(axis=0), rtol=0.35)


def test_truncation_is_not_termination_and_the_outcome_is_from_before_the_reset():
    task = load_task("HalfCheetah-v5", "native")
    state = tasks.reset(task, jax.random.PRNGKey(0))._replace(elapsed=jnp.int32(998))
    step = jax.jit(lambda s, a, k: tasks.step_and_reset(task, s, a, k))
    action, key = jnp.full(6, 0.5), jax.random.PRNGKey(5)
    state, outcome = step(state, action, key)
    assert not outcome.truncated
    assert state.elapsed == 999
    np.testing.assert_array_equal(state.observation, outcome.observation)
    plain, _ = tasks.step(task, state, action)
    state, outcome = step(state, action, key)
    assert outcome.truncated
    assert not outcome.terminated
    np.testing.assert_array_equal(outcome.observation, plain.observation)
    assert state.elapsed == 0
    assert state.episode_return == 0.0
    np.testing.assert_allclose(state.observation, tasks.reset(task, key).observation, rtol=1e-6)


def test_termination_starts_a_new_episode():
    task = load_task("Hopper-v5", "native")
    fallen = task.at_rest._replace(qpos=task.at_rest.qpos.at[1].set(0.5))
    state, outcome = tasks.step_and_reset(task, state_at(task, fallen), jnp.zeros(3), jax.random.PRNGKey(0))
    assert outcome.terminated
    assert not outcome.truncated
    assert outcome.observation[0] < 0.7 < state.observation[0]


def test_native_engine_gives_the_same_in_any_batch():
    task = load_task("Walker2d-v5", "native")
    keys = jax.random.split(jax.random.PRNGKey(0), 12)
    states = jax.vmap(lambda k: tasks.reset(task, k))(keys)
    actions = jax.vmap(lambda k: jax.random.uniform(k, (6,), minval=-1.0, maxval=1.0))(keys)
    step = lambda s, a: tasks.step(task, s, a)[1].observation  # noqa: E731
    batched = jax.jit(jax.vmap(step))(states, actions)
    nest = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(3, 4, *leaf.shape[1:]), tree)  # noqa: E731
    nested = jax.jit(jax.vmap(jax.vmap(step)))(nest(states), nest(actions)).reshape(batched.shape)
    alone = jnp.stack([step(jax.tree.map(lambda leaf, i=i: leaf[i], states), actions[i]) for i in range(12)])
    np.testing.assert_array_equal(batched, nested)
    np.testing.assert_allclose(batched, alone, atol=1e-6)


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'HalfCheetah-v5'"):
        load_task("halfcheeta-v5")
    with pytest.raises(UserError, match="did you mean 'native'"):
        load_task("Hopper-v5", "nativ")
