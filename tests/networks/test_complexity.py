import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import take_critic, take_others, tiny_config

from xinet_jax import agent as agents
from xinet_jax.config.names import COSTS
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Shape
from xinet_jax.pruning import compaction, gates

TINY = Shape(2, 1, 2, (1,), (1,), (1,), (2,))
SMALL = Shape(5, 2, 4, (3, 2, 4), (2, 3, 3), (4, 3), (5, 2))


def random_theta(key, shape):
    leaves, structure = jax.tree.flatten(layout.ones(shape))
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [jax.random.uniform(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


def enumerate_expectation(shape, theta, cost):
    leaves, structure = jax.tree.flatten(theta)
    flat = jnp.concatenate([leaf.ravel() for leaf in leaves])

    def at(draw):
        parts = jnp.split(draw, np.cumsum([leaf.size for leaf in leaves])[:-1])
        xi = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return complexity.total(shape, jax.tree.unflatten(structure, xi), cost)

    draws = jnp.array(list(itertools.product((0.0, 1.0), repeat=flat.size)))
    probabilities = jnp.prod(jnp.where(draws > 0.5, flat, 1 - flat), axis=1)
    return jnp.sum(probabilities * jax.vmap(at)(draws))


@pytest.mark.parametrize("cost", COSTS)
def test_expected_count_is_the_count_at_theta_by_enumeration(key, cost):
    theta = random_theta(key, TINY)
    exact = enumerate_expectation(TINY, theta, cost)
    np.testing.assert_allclose(complexity.total(TINY, theta, cost), exact, rtol=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_expected_count_is_the_count_at_theta_by_sampling(key, cost):
    key_theta, key_draws = jax.random.split(key)
    theta = random_theta(key_theta, SMALL)
    origin = layout.original(SMALL, tuple(theta))
    draw = lambda k: gates.sample(gates.uniform(k, SMALL, origin), theta)  # noqa: E731
    draws = jax.vmap(draw)(jax.random.split(key_draws, 10_000))
    counts = np.asarray(jax.vmap(lambda xi: complexity.total(SMALL, xi, cost))(draws))
    error = counts.std() / np.sqrt(len(counts))
    assert abs(counts.mean() - float(complexity.total(SMALL, theta, cost))) < 4 * error


@pytest.mark.parametrize("name", ["sac", "ofenet", "xinet"])
def test_dense_count_is_the_number_of_parameters(key, name):
    config = tiny_config(agent=name)
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), key)
    networks = {name: state.params[name] for name in ("ofenet", "actor", "critic")}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(networks))
    assert complexity.total(agent.networks.shape, {}) == parameters
    assert sum(layer.parameters for layer in complexity.count(agent.dense, agent.dense, state.alive)) == parameters


# Lengths of observation and action of Gymnasium's v5 tasks, from Swimmer to Humanoid.
@pytest.mark.parametrize("sizes", [(8, 2), (11, 3), (17, 6), (105, 8), (348, 17)])
@pytest.mark.parametrize("name", ["sac", "ofenet", "xinet"])
def test_count_at_alive_masks_is_the_size_of_the_compacted_tree(sizes, name):
    config = tiny_config(agent=name)
    observation_size, action_size = sizes
    agent = agents.make_agent(config, observation_size, action_size)
    key_init, key_alive = jax.random.split(jax.random.PRNGKey(observation_size))
    state = agents.init(agent, agents.make_hyper(config, action_size), key_init)
    shape = agent.networks.shape
    alive = jax.tree.map(jnp.round, random_theta(key_alive, shape))
    keep = compaction.plan(shape, alive)
    trees = [take_others(keep, state.params), *(take_critic(keep, state.params, twin) for twin in range(2))]
    sizes = sum(leaf.size for leaf in jax.tree.leaves(trees))
    assert complexity.total(shape, alive) == sizes
    assert sum(layer.parameters for layer in complexity.count(shape, shape, alive)) == sizes


@pytest.mark.parametrize("branch", ["state", "action"])
def test_price_of_a_unit_is_what_disappears_with_it(branch):
    """dC/dtheta_j at theta = 1: the unit's own weights, and the column that it adds to every consumer."""
    full = layout.ones(SMALL)
    gradient = jax.grad(lambda units: complexity.total(SMALL, units))(full)
    for block in range(3):
        removed = jax.tree.map(jnp.copy, full)
        layers = list(removed["ofenet"][branch])
        layers[block] = layers[block].at[0].set(0.0)
        removed["ofenet"][branch] = tuple(layers)
        gone = complexity.total(SMALL, full) - complexity.total(SMALL, removed)
        assert gradient["ofenet"][branch][block][0] == gone


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("name", ["actor", "critic"])
def test_price_of_a_heads_unit_is_what_disappears_with_it(name, cost):
    full = layout.ones(SMALL)
    gradient = jax.grad(lambda units: complexity.total(SMALL, units, cost))(full)
    unit = (1, 0) if name == "critic" else 0
    for layer in range(len(full[name])):
        layers = list(full[name])
        layers[layer] = layers[layer].at[unit].set(0.0)
        removed = full | {name: tuple(layers)}
        gone = complexity.total(SMALL, full, cost) - complexity.total(SMALL, removed, cost)
        assert gradient[name][layer][unit] == gone


def test_flops_are_those_of_the_matrix_products():
    shape = Shape(3, 2, 3, (), (), (4,), (5,))
    actor, critic = 2 * (3 * 4 + 4 * 4), 2 * (5 * 5 + 5 * 1)
    assert complexity.total(shape, {}, "flops") == actor + 2 * critic


def test_share_is_one_when_dense_and_falls_with_theta(key):
    assert complexity.share(SMALL, SMALL, layout.ones(SMALL)) == pytest.approx(1.0)
    assert complexity.share(SMALL, SMALL, random_theta(key, SMALL)) < 1.0


def test_large_counts_stay_whole():
    shape = Shape(4096, 1, 4096, (), (), (4097,), (1,))
    first = complexity.count(shape, shape, {})[0]
    assert first.parameters == 4097 * 4097  # 16,785,409 is odd and above 2**24, where float32 has even numbers only
