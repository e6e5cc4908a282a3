"""On a regression task whose useful units are known, theta ends in the right corner (method, section 2)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax import gates

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
    return 2.0 * jnp.mean(jnp.square((x * xi) @ weights - y))


def starts(seed):
    key_theta, key_weights = jax.random.split(jax.random.PRNGKey(seed))
    theta = jax.random.uniform(key_theta, (6,), minval=0.2, maxval=0.9)
    return theta, jax.random.normal(key_weights, (6,))


def rate(i):
    """Returns theta's step size: none before the weights have learnt what the units are good for (section 4)."""
    return jnp.where(i < 1000, 0.0, 1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_with_the_exact_gradient_theta_ends_at_0_and_1_exactly(seed):
    """Weights and theta descend E_xi[l] + price together; the expectation is enumerated. Theta waits at first."""
    batch = data(jax.random.PRNGKey(100), 512)

    def objective(weights, theta):
        probabilities = jnp.prod(jnp.where(DRAWS > 0.5, theta, 1 - theta), axis=1)
        return jnp.dot(probabilities, jax.vmap(lambda xi: loss(weights, xi, batch))(DRAWS)) + PRICE * theta.sum()

    @jax.jit
    def step(i, carry):
        weights, theta = carry
        slope, gradient = jax.grad(objective, (0, 1))(weights, theta)
        return weights - 0.05 * slope, gates.descend({"a": theta}, {"a": gradient}, rate(i))["a"]

    theta, weights = starts(seed)
    weights, theta = jax.lax.fori_loop(0, 5000, step, (weights, theta))
    np.testing.assert_array_equal(theta, USEFUL.astype(np.float32))
    np.testing.assert_allclose(weights[USEFUL], WEIGHTS[USEFUL], atol=0.1)


@pytest.mark.parametrize("weights_see", ["open", "mean", "sampled"])
@pytest.mark.parametrize("seed", range(3))
def test_with_heun_on_minibatches_useless_units_are_pruned_and_useful_ones_stay_open(seed, weights_see):
    """One draw of the gates per minibatch, as in training. A useful gate rests just below 1: between draws that close
    it there is only the price, and near 1 the floor is in the way."""

    def step(i, carry):
        weights, theta, alive = carry
        key_data, key_gates = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(seed), i))
        batch = data(key_data, 64)
        probability = jnp.full(6, 0.9375) if weights_see == "open" else theta
        xi = (jax.random.uniform(key_gates, (6,)) < probability).astype(jnp.float32)
        seen = {"open": alive, "mean": theta, "sampled": xi}[weights_see]
        weights = weights - 0.05 * jax.grad(loss)(weights, seen, batch)
        # Weights that learnt at theta are judged at what their units contribute now (method, section 3).
        strength = {"open": alive / 0.9375, "mean": theta, "sampled": jnp.ones(6)}[weights_see]
        slope = jax.grad(lambda gate: loss(weights, gate * strength, batch))(xi)
        tree = lambda leaf: {"ofenet": leaf}  # noqa: E731
        gradient = gates.estimate("heun", tree(slope), tree(xi), tree(probability), 0.05)["ofenet"] + PRICE
        theta = gates.descend({"ofenet": theta}, {"ofenet": gradient}, rate(i))
        theta, alive = gates.prune(theta, {"ofenet": alive}, 0.02)
        return weights, theta["ofenet"], alive["ofenet"]

    theta, weights = starts(seed)
    _, theta, alive = jax.lax.fori_loop(0, 8000, step, (weights, theta, jnp.ones(6)))
    np.testing.assert_array_equal(alive, USEFUL)
    np.testing.assert_array_equal(theta[~USEFUL], 0.0)
    assert (theta[USEFUL] > 0.95).all()
