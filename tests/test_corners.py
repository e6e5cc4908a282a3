"""On a regression task whose useful units are known, theta ends in the right corner (method, section 2)."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import gradient_of, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent import theta as theta_of_agent
from xinet_jax.agent.losses import Losses
from xinet_jax.agent.state import acting_gates
from xinet_jax.networks import complexity
from xinet_jax.networks.modules import gated, make_networks
from xinet_jax.pruning import gates

WEIGHTS = jnp.array([2.0, 0.0, -1.5, 1.0, 0.0, 0.8])  # units 1 and 4 have nothing to say
USEFUL = np.asarray(WEIGHTS) != 0
PRICE = 0.3  # nats per unit
DRAWS = jnp.array(list(itertools.product((0.0, 1.0), repeat=6)))


def data(key, count):
    key_x, key_noise = jax.random.split(key)
    x = jax.random.normal(key_x, (count, 6))
    return x, x @ WEIGHTS + 0.3 * jax.random.normal(key_noise, (count,))


def loss(weights, xi, batch):
    """Negative log-likelihood per sample, in nats up to a constant, of noise of standard deviation 0.5."""
    x, y = batch
    return 2.0 * jnp.mean(jnp.square(gated(x, xi) @ weights - y))


def starts(seed):
    key_theta, key_weights = jax.random.split(jax.random.PRNGKey(seed))
    theta = jax.random.uniform(key_theta, (6,), minval=0.2, maxval=0.9)
    return theta, jax.random.normal(key_weights, (6,))


def rate(i):
    """Returns theta's step size: none before the weights have learnt what the units are good for (section 4)."""
    return jnp.where(i < 1000, 0.0, 1e-3)


@pytest.mark.parametrize("seeds", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_with_the_exact_gradient_theta_ends_at_0_and_1_exactly(seeds):
    """Weights and theta descend E_xi[l] + price together; the expectation is enumerated. Theta waits at first."""
    batch = data(jax.random.PRNGKey(100), 512)

    def objective(weights, theta):
        probabilities = jnp.prod(jnp.where(DRAWS > 0.5, theta, 1 - theta), axis=1)
        return jnp.dot(probabilities, jax.vmap(lambda xi: loss(weights, xi, batch))(DRAWS)) + PRICE * theta.sum()

    def step(i, carry):
        weights, theta = carry
        slope, gradient = jax.grad(objective, (0, 1))(weights, theta)
        return weights - 0.05 * slope, gates.descend({"a": theta}, {"a": gradient}, rate(i))["a"]

    @jax.jit
    @jax.vmap
    def ends(seed):
        theta, weights = starts(seed)
        return jax.lax.fori_loop(0, 5000, step, (weights, theta))

    for weights, theta in zip(*ends(jnp.arange(seeds)), strict=True):
        np.testing.assert_array_equal(theta, USEFUL.astype(np.float32))
        np.testing.assert_allclose(weights[USEFUL], WEIGHTS[USEFUL], atol=0.1)


def pruned(weights_see, copies=(), steps=8000):
    """Returns theta and the alive masks of six gates that learn by `theta_of_agent.step` beside linear weights.

    Both have a row for each of three seeds: of the start, the minibatches and the gates.

    Args:
      weights_see: as in the configuration.
      copies: units that all see what the first of them sees.
      steps: minibatches; theta waits for the first thousand.
    """
    rules = {"weights_see": weights_see, "theta_every": 1, "prune_start": 1000, "prune_ramp": 0, "gated": ("ofenet",)}
    config = tiny_config(blocks=1, block_units=6, steps=100_000, **rules)
    agent = agents.make_agent(config, 17, 6)
    shape = agent.dense._replace(action_blocks=())
    agent = agent._replace(dense=shape, networks=make_networks(shape))
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(0))
    # Nothing else is gated, so a unit's price does not depend on the others'.
    dearness = jax.grad(lambda theta: complexity.share(shape, shape, theta))(state.theta)["ofenet"]["state"][0]
    np.testing.assert_allclose(dearness, dearness[0], rtol=1e-6)
    hyper = agents.make_hyper(config, 6)._replace(nu=PRICE / dearness[0], theta_learning_rate=1e-3)
    of_units = lambda units: units["ofenet"]["state"][0]  # noqa: E731

    def step(seed, i, carry):
        weights, state = carry
        key_data, key_gates = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(seed), i))
        x, y = data(key_data, 64)
        x = x.at[:, list(copies)].set(x[:, list(copies[:1])])
        seen = of_units(acting_gates(agent, state))
        if weights_see == "sampled":
            seen = of_units(gates.sample(gates.uniform(key_gates, shape, state.origin), state.theta))
        slope = jax.grad(loss)(weights, seen, (x, y))

        def losses_at(units):
            batch_loss = loss(weights, of_units(units), (x, y))
            return Losses(batch_loss, jnp.zeros(2), jnp.zeros(()), jnp.zeros(()))

        gradient = gradient_of(agent, hyper, state, losses_at, key_gates, i)
        theta, _ = theta_of_agent.step(agent, hyper, state, gradient, i)
        theta, alive = gates.prune(theta, state.alive, agent.pruning.theta_min)
        return weights - 0.05 * slope, state._replace(theta=theta, alive=alive)

    @jax.jit
    @jax.vmap
    def end(seed):
        theta, weights = starts(seed)
        start = state._replace(theta={"ofenet": {"state": (theta,), "action": ()}})
        return jax.lax.fori_loop(0, steps, partial(step, seed), (weights, start))[1]

    ends = end(jnp.arange(3))
    return np.asarray(of_units(ends.theta)), np.asarray(of_units(ends.alive))


@pytest.mark.parametrize("weights_see", ["open", "mean", "sampled"])
def test_on_minibatches_useless_units_are_pruned_and_useful_ones_stay_open(weights_see):
    """One draw of the gates per minibatch, as in training. A useful gate rests just below 1: between draws that close
    it there is only the price, and near 1 the floor is in the way."""
    theta, alive = pruned(weights_see)
    for of_seed in alive:
        np.testing.assert_array_equal(of_seed, USEFUL)
    np.testing.assert_array_equal(theta[:, ~USEFUL], 0.0)
    assert (theta[:, USEFUL] > 0.95).all()


@pytest.mark.parametrize("weights_see", ["open", "mean"])
def test_of_units_that_say_the_same_one_stays(weights_see):
    """Beside the others each may be worth less than its price; all three together are worth twenty times as much."""
    _, alive = pruned(weights_see, copies=(3, 4, 5), steps=20_000)
    assert (alive[:, 3:].sum(axis=1) >= 1).all()
    for of_seed in alive:
        np.testing.assert_array_equal(of_seed[:3], USEFUL[:3])
