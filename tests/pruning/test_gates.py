import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape
from xinet_jax.pruning import estimators, gates

SHAPE = Shape(3, 2, 3, (4,), (4,), (5,), (5, 4))


def expected_estimate(estimator, loss, theta):
    """Returns the exact mean of an estimator over all draws of xi."""
    total = jnp.zeros_like(theta)
    for draw in itertools.product((0.0, 1.0), repeat=len(theta)):
        xi = jnp.array(draw)
        probability = jnp.prod(jnp.where(xi > 0.5, theta, 1 - theta))
        gradient = {"a": jax.grad(loss)(xi)}
        total += probability * estimators.estimate(estimator, gradient, {"a": xi}, {"a": theta}, 1e-6)["a"]
    return total


def exact_gradient(loss, theta):
    """Returns dE[l]/dtheta_j = E[l(xi_j = 1) - l(xi_j = 0)] (method, section 3), by enumeration."""

    def expectation(theta):
        draws = jnp.array(list(itertools.product((0.0, 1.0), repeat=len(theta))))
        probabilities = jnp.prod(jnp.where(draws > 0.5, theta, 1 - theta), axis=1)
        return jnp.sum(probabilities * jax.vmap(loss)(draws))

    return jax.grad(expectation)(theta)


THETA = jnp.array([0.2, 0.5, 0.9, 0.7])


def linear(xi):
    return jnp.dot(xi, jnp.array([1.0, -2.0, 0.5, 3.0])) + 1.0


def quadratic(xi):
    a = jnp.array([[2.0, 0.3, -1.0, 0.0], [0.1, 1.0, 0.5, 0.2], [0.0, -0.4, 3.0, 1.0], [0.7, 0.0, 0.0, 0.5]])
    return xi @ a @ xi + linear(xi)


def cubic(xi):
    return jnp.sum(xi) ** 3


@pytest.mark.parametrize("loss", [linear, quadratic])
def test_heun_is_exact_for_losses_quadratic_in_each_gate(loss):
    np.testing.assert_allclose(expected_estimate("heun", loss, THETA), exact_gradient(loss, THETA), rtol=1e-4)


def test_straight_through_is_exact_for_linear_losses_only():
    estimate = expected_estimate("straight_through", linear, THETA)
    np.testing.assert_allclose(estimate, exact_gradient(linear, THETA), rtol=1e-5)
    estimate = expected_estimate("straight_through", quadratic, THETA)
    assert np.abs(estimate - exact_gradient(quadratic, THETA)).max() > 0.1


def test_heun_is_not_exact_beyond_quadratics():
    assert np.abs(expected_estimate("heun", cubic, THETA) - exact_gradient(cubic, THETA)).max() > 0.1


@pytest.mark.parametrize("loss", [linear, quadratic, cubic])
def test_disarm_is_unbiased_for_any_loss(loss, key):
    theta = {"actor": (THETA,)}

    def one(k):
        xi, opposite = gates.sample_antithetic(draw(k, theta), theta)
        difference = {"actor": loss(xi["actor"][0]) - loss(opposite["actor"][0])}
        return estimators.disarm(difference, xi, opposite, theta, 1e-6)["actor"][0]

    draws = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(key, 200_000)))
    error = draws.std(axis=0) / len(draws) ** 0.5
    assert (np.abs(draws.mean(axis=0) - exact_gradient(loss, THETA)) < 4 * error).all()


def test_antithetic_samples_are_each_bernoulli_and_differ_as_often_as_they_can(key):
    theta = {"actor": (THETA,)}
    pairs = jax.vmap(lambda k: gates.sample_antithetic(draw(k, theta), theta))(jax.random.split(key, 20_000))
    first, second = (np.asarray(units["actor"][0]) for units in pairs)
    np.testing.assert_allclose(first.mean(axis=0), THETA, atol=0.02)
    np.testing.assert_allclose(second.mean(axis=0), THETA, atol=0.02)
    np.testing.assert_allclose((first != second).mean(axis=0), 2 * np.minimum(THETA, 1 - THETA), atol=0.02)
    alone = jax.vmap(lambda k: gates.sample(draw(k, theta), theta))(jax.random.split(key, 20_000))
    np.testing.assert_array_equal(alone["actor"][0], first)


def test_disarm_tells_the_twin_critics_apart():
    theta = {"critic": (jnp.full((2, 3), 0.5),)}
    xi, opposite = {"critic": (jnp.ones((2, 3)),)}, {"critic": (jnp.zeros((2, 3)),)}
    gradient = estimators.disarm({"critic": jnp.array([1.0, -2.0])}, xi, opposite, theta, 0.05)
    np.testing.assert_allclose(gradient["critic"][0], [[1.0] * 3, [-2.0] * 3])


def test_heun_floors_its_denominator():
    weight = estimators.heun(jnp.array([0.0, 1.0]), jnp.array([0.999, 0.001]), 0.05)
    np.testing.assert_allclose(weight, [10.0, 10.0])


def objective(theta, loss, nu=3.0):
    """Returns E[l] + nu C with a multilinear price, exactly."""
    draws = jnp.array(list(itertools.product((0.0, 1.0), repeat=len(theta))))
    probabilities = jnp.prod(jnp.where(draws > 0.5, theta, 1 - theta), axis=1)
    price = theta[0] * (2 + theta[1]) + theta[2] * (1 + theta[3])
    return jnp.sum(probabilities * jax.vmap(loss)(draws)) + nu * price


def test_the_objective_is_affine_in_every_single_theta():
    for j in range(4):
        values = [float(objective(THETA.at[j].set(t), cubic)) for t in (0.0, 0.5, 1.0)]
        assert values[1] == pytest.approx((values[0] + values[2]) / 2, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_exact_descent_ends_in_a_corner(seed):
    """A strict local minimum over theta is a deterministic network (method, section 2)."""
    target = jnp.array([1.0, 0.0, 1.0, -0.5])
    loss = lambda xi: 8 * jnp.sum((xi - target) ** 2) + jnp.prod(xi[:2])  # noqa: E731
    theta = {"a": jax.random.uniform(jax.random.PRNGKey(seed), (4,), minval=0.3, maxval=0.7)}
    gradient = jax.jit(jax.grad(lambda t: objective(t, loss)))
    for _ in range(500):
        theta = gates.descend(theta, {"a": gradient(theta["a"])}, 0.02)
    np.testing.assert_array_equal(theta["a"], [1, 0, 1, 0])


def test_a_gradient_that_is_not_finite_moves_nothing():
    theta = {"a": jnp.array([0.5, 0.5, 0.5])}
    moved = gates.descend(theta, {"a": jnp.array([jnp.nan, jnp.inf, 1.0])}, 0.1)
    np.testing.assert_allclose(moved["a"], [0.5, 0.5, 0.4], rtol=1e-6)


def draw(key, theta):
    """Returns uniform numbers for units that are all there."""
    shape = SHAPE._replace(actor_hidden=tuple(layer.shape[-1] for layer in theta["actor"]))
    return gates.uniform(key, shape, layout.original(shape, tuple(theta)))


def test_a_units_draw_does_not_depend_on_what_was_taken_out(key):
    origin = layout.original(SHAPE, ("ofenet", "actor", "critic"))
    whole = gates.uniform(key, SHAPE, origin)
    some = lambda leaf: leaf[..., 1::2]  # noqa: E731
    fewer = gates.uniform(key, SHAPE, jax.tree.map(some, origin))
    assert sum(leaf.size for leaf in jax.tree.leaves(fewer)) > 10
    jax.tree.map(np.testing.assert_array_equal, fewer, jax.tree.map(some, whole))


def test_samples_are_binary_and_follow_theta(key):
    theta = gates.descend(layout.ones(SHAPE), jax.tree.map(jnp.ones_like, layout.ones(SHAPE)), 0.3)  # 0.7 everywhere
    draws = jax.vmap(lambda k: gates.sample(draw(k, theta), theta))(jax.random.split(key, 4000))
    for leaf in jax.tree.leaves(draws):
        assert set(np.unique(leaf)) == {0.0, 1.0}
        np.testing.assert_allclose(leaf.mean(axis=0), 0.7, atol=0.05)
    first, second = draws["actor"][0][:, 0], draws["actor"][0][:, 1]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06, "draws of two units must be independent"


def test_descend_projects_onto_the_unit_interval():
    theta = {"actor": (jnp.array([0.1, 0.5, 0.9]),)}
    moved = gates.descend(theta, {"actor": (jnp.array([1.0, 1.0, -1.0]),)}, 0.2)
    np.testing.assert_allclose(moved["actor"][0], [0.0, 0.3, 1.0], atol=1e-6)


def test_prune_is_permanent():
    alive = {"ofenet": {"state": (jnp.ones(3),), "action": ()}}
    low = {"ofenet": {"state": (jnp.array([0.01, 0.5, 1.0]),), "action": ()}}
    theta, alive = gates.prune(low, alive, 0.02)
    np.testing.assert_array_equal(alive["ofenet"]["state"][0], [0, 1, 1])
    np.testing.assert_array_equal(theta["ofenet"]["state"][0], [0, 0.5, 1])
    risen = {"ofenet": {"state": (jnp.ones(3),), "action": ()}}
    theta, alive = gates.prune(risen, alive, 0.02)
    np.testing.assert_array_equal(alive["ofenet"]["state"][0], [0, 1, 1])
    np.testing.assert_array_equal(theta["ofenet"]["state"][0], [0, 1, 1])


def test_a_layer_of_actor_or_critic_keeps_its_best_unit_and_ofenet_keeps_none():
    layer = jnp.array([0.0, 0.01, 0.005])
    twins = jnp.array([[0.0, 0.01, 0.005], [0.9, 0.0, 0.0]])
    theta = {"ofenet": {"state": (layer,), "action": (layer,)}, "actor": (layer,), "critic": (twins,)}
    theta, alive = gates.prune(theta, jax.tree.map(jnp.ones_like, theta), 0.02)
    assert not alive["ofenet"]["state"][0].any()
    np.testing.assert_array_equal(alive["actor"][0], [0, 1, 0])
    np.testing.assert_array_equal(alive["critic"][0], [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(theta["actor"][0], [0, 0.02, 0])
    theta, alive = gates.prune(theta, alive, 0.02)
    np.testing.assert_array_equal(alive["actor"][0], [0, 1, 0])


def test_the_last_unit_stays_the_same_unit_when_all_fall_to_zero():
    alive = {"actor": (jnp.array([0.0, 0.0, 1.0]),)}
    _, alive = gates.prune({"actor": (jnp.zeros(3),)}, alive, 0.02)
    np.testing.assert_array_equal(alive["actor"][0], [0, 0, 1])
