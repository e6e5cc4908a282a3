"""Parity with Gymnasium's own environments, and what a task adds to its physics."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.errors import UserError
from xinet_jax.tasks import task as tasks
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.physics import Physics
from xinet_jax.tasks.registry import load_task, task_names
from xinet_jax.tasks.task import TaskState

# Largest error of an observation or reward, as a share of 1 + its size. Native: what float32 makes of a state.
# MJX computes in float32: HalfCheetah's and Walker2d's velocities differ by up to 1e-4 per simulation step.
_TOLERANCE = {"native": 1e-4, "mjx": 2e-3}


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


def assert_parity(name, engine):
    rollout = list(gymnasium_steps(name))
    before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(row[0] for row in rollout))
    actions = jnp.stack([row[1] for row in rollout])
    task = load_task(name, engine)
    states = jax.vmap(lambda physics: state_at(task, physics))(before)
    _, outcome = jax.jit(jax.vmap(lambda s, a: tasks.step(task, s, a)))(states, actions)
    tolerance = _TOLERANCE[engine]
    observations = np.stack([row[2] for row in rollout])
    np.testing.assert_allclose(outcome.observation, observations, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(outcome.reward, [row[3] for row in rollout], rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(outcome.terminated, [row[4] for row in rollout])
    for term, values in outcome.reward_terms.items():
        expected = [row[6][term] for row in rollout]
        np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance, err_msg=term)
    if "Cheetah" not in name:
        assert outcome.terminated.any(), "the rollout must contain terminations for their parity to mean anything"


@pytest.mark.parametrize("name", task_names())
def test_native_parity_with_gymnasium(name):
    assert_parity(name, "native")


def test_mjx_parity_with_gymnasium():
    assert_parity("HalfCheetah-v5", "mjx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v5"])
def test_mjx_parity_with_gymnasium_slow_to_compile(name):
    assert_parity(name, "mjx")


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
