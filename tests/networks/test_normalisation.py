"""Normalisation of observations: the moments are those of all observations, and networks can take it over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.observing import as_seen, observe
from xinet_jax.networks import normalisation
from xinet_jax.networks.modules import action_features, state_features
from xinet_jax.types import Transition

SIZES = (3, 2)  # of observation and action


@pytest.mark.parametrize("envs", [(), (4,)])
def test_moments_are_those_of_all_observations_that_count(envs):
    draw = np.random.default_rng(0)
    statistics, seen = normalisation.init(3), []
    step = jax.jit(normalisation.observe)
    for _ in range(50):
        observation = draw.normal(size=(*envs, 3)).astype(np.float32) * [1.0, 10.0, 0.1] + [0.0, 1000.0, -1.0]
        counted = draw.uniform(size=envs) < 0.7
        observation = np.where(np.asarray(counted)[..., None], observation, np.nan).astype(np.float32)
        statistics = step(statistics, jnp.asarray(observation), jnp.asarray(counted))
        seen.append(observation.reshape(-1, 3)[np.asarray(counted).reshape(-1)])
    seen = np.concatenate(seen).astype(np.float64)
    assert int(statistics.count) == len(seen)
    np.testing.assert_allclose(statistics.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.variance, seen.var(axis=0), rtol=1e-3)
    normalised = normalisation.normalise(statistics, jnp.asarray(seen, jnp.float32))
    np.testing.assert_allclose(normalised.mean(axis=0), 0.0, atol=2e-3)
    np.testing.assert_allclose(normalised.std(axis=0), [1, 1, 0.1 / 0.11], atol=0.05)


def test_one_set_of_observations_is_like_one_after_the_other():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    together = normalisation.observe(normalisation.init(3), rows, jnp.ones(6, bool))
    alone = normalisation.init(3)
    for row in rows:
        alone = normalisation.observe(alone, row, jnp.bool_(True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), together, alone)


@pytest.fixture
def normalising(key):
    """An agent with random weights and running averages, and statistics far from 0 and 1."""
    config = tiny_config(normalize_observations=True, gated=("ofenet", "actor", "critic"))
    agent = agents.make_agent(config, *SIZES)
    state = agents.init(agent, agents.make_hyper(config, SIZES[1]), key)
    keys = iter(jax.random.split(key, 100))
    shake = lambda leaf: leaf + 0.3 * jax.random.uniform(next(keys), leaf.shape)  # noqa: E731
    params = jax.tree.map(shake, state.params)
    observations = normalisation.ObservationStatistics(
        jnp.array([3.0, -20.0, 0.5]), jnp.array([4.0, 100.0, 1e-6]), jnp.float32(100.0)
    )
    statistics = jax.tree.map(shake, state.statistics)
    return agent, state._replace(params=params, statistics=statistics, observations=observations)


def test_networks_that_took_it_over_compute_the_same(normalising, key):
    agent, state = normalising
    observation = jax.random.normal(key, (20, 3)) * jnp.array([2.0, 10.0, 1e-3]) + state.observations.mean
    action = jax.random.uniform(key, (20, 2), minval=-1.0, maxval=1.0)
    params, averages = normalisation.fold(agent.networks.shape, state.params, state.statistics, state.observations)

    def outputs(params, averages, observation):
        networks, ofenet = agent.networks, (agent.networks, params["ofenet"], averages, {})
        z_o = state_features(*ofenet, observation)
        z_oa = action_features(*ofenet, z_o, action)
        variables = {"params": params["ofenet"], "batch_stats": averages}
        prediction = networks.ofenet.apply(variables, observation, action)
        critic = networks.critic.apply({"params": params["critic"]}, z_oa)
        return networks.actor.apply({"params": params["actor"]}, z_o), critic, prediction

    ours = outputs(params, averages, observation)
    theirs = outputs(state.params, state.statistics, as_seen(state, observation))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    assert np.abs(theirs[0] - outputs(state.params, state.statistics, observation)[0]).max() > 0.1


def test_acting_and_learning_see_normalised_observations(normalising, key):
    """Another scale and origin of observations and statistics makes no difference."""
    agent, state = normalising
    hyper = agents.make_hyper(tiny_config(), SIZES[1])
    keys = jax.random.split(key, 4)
    observation, following = (jax.random.normal(k, (16, 3)) for k in keys[:2])
    batch = Transition(observation, jnp.zeros((16, 2)), jnp.zeros(16), following, jnp.ones(16))
    one = state._replace(observations=normalisation.init(3)._replace(variance=jnp.full(3, (1 - 0.01) ** 2)))
    two = state._replace(observations=one.observations._replace(mean=jnp.full(3, 5.0), variance=jnp.full(3, 1.99**2)))
    moved = batch._replace(observation=2 * batch.observation + 5, next_observation=2 * batch.next_observation + 5)
    np.testing.assert_allclose(
        agents.act(agent, one, batch.observation, None), agents.act(agent, two, moved.observation, None), atol=1e-5
    )

    def gradients(state, batch):
        """Returns Adam's first moments after one update and after one of OFENet alone, and theta after a step."""
        updated, _ = agents.update_weights(agent, hyper, state, batch, keys[2])
        pretrained, _ = agents.pretrain(agent, hyper, state, batch)
        moved, _ = agents.update_theta(agent, hyper, updated, batch, keys[3], 40)
        moments = [{name: moment.mu for name, moment in after.optimiser.items()} for after in (updated, pretrained)]
        return jax.tree.leaves((moments, moved.theta))

    learn = jax.jit(gradients)
    ours, same, other = learn(one, batch), learn(two, moved), learn(one, moved)
    for a, b in zip(ours, same, strict=True):
        assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(a) + 1e-7
    differs = [np.linalg.norm(a - b) > 0.1 * np.linalg.norm(a) for a, b in zip(ours, other, strict=True) if a.any()]
    assert np.mean(differs) > 0.75, "it makes a difference what is seen, though theta moves little in one step"


def test_a_diverged_agent_observes_no_more(normalising):
    _, state = normalising
    after = observe(state._replace(diverged=jnp.bool_(True)), jnp.ones(3), jnp.bool_(True))
    jax.tree.map(np.testing.assert_array_equal, after.observations, state.observations)
    after = observe(state, jnp.ones(3), jnp.bool_(True))
    assert int(after.observations.count) == 101


def test_without_it_there_is_nothing(key):
    config = tiny_config()
    state = agents.init(agents.make_agent(config, *SIZES), agents.make_hyper(config, SIZES[1]), key)
    assert state.observations is None
    assert observe(state, jnp.ones(3), jnp.bool_(True)) is state
