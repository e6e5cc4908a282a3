"""The step of theta by any gradient: a price that is found, and units in another order."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinet_jax.config import make_config
from xinet_jax.networks import complexity, layout
from xinet_jax.networks.modules import Shape
from xinet_jax.pruning import schedules
from xinet_jax.pruning import theta as thetas

SHAPE = Shape(5, 2, 5, (6, 6), (6, 6), actor_hidden=(9, 8), critic_hidden=(9, 8))
NETWORKS = ("ofenet", "actor", "critic")
SCALES = {"ofenet": 1.0, "actor": 0.5, "critic": 0.25}
RULES = dataclasses.replace(
    make_config(keep_share=0.2, price="found", estimator="fisher").pruning, prune_start=100, prune_ramp=100
)


def random_gradient(key):
    ones = layout.ones(SHAPE, NETWORKS)
    leaves, structure = jax.tree.flatten(ones)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [-jax.random.exponential(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


def step(gradient, steps, rules=RULES, theta=None, nu=0.0, scales=SCALES):
    theta, alive = theta or layout.ones(SHAPE, NETWORKS), layout.ones(SHAPE, NETWORKS)
    return thetas.step(rules, SHAPE, SHAPE, theta, alive, gradient, nu, scales, 0.05, steps)


@pytest.mark.parametrize("steps", [110, 150, 200, 1000])
def test_a_price_that_is_found_leaves_as_much_as_the_schedule_says(key, steps):
    theta, figures = step(random_gradient(key), steps)
    target = schedules.target_share(0.2, min(1.0, (steps - 100) / 100))
    left = float(complexity.share(SHAPE, SHAPE, theta))
    assert left == pytest.approx(float(target), abs=2e-3)
    assert left <= target + 1e-6
    assert figures.price > 0

    fixed = dataclasses.replace(RULES, price="fixed", keep_share=0.0, prune_ramp=0)
    at_price = step(random_gradient(key), steps, fixed, nu=figures.price)
    for found, paid in zip(jax.tree.leaves(theta), jax.tree.leaves(at_price[0]), strict=True):
        np.testing.assert_allclose(found, paid, rtol=1e-5)
    assert at_price[1].price == figures.price


def test_a_price_that_is_found_is_zero_while_nothing_has_to_go(key):
    few = jax.tree.map(lambda one: 0.1 * one, layout.ones(SHAPE, NETWORKS))
    theta, figures = step(random_gradient(key), 101, theta=few)
    assert figures.price == 0
    assert all((t > 0.1).all() for t in jax.tree.leaves(theta))


def test_units_worth_least_for_their_cost_fall_first(key):
    gradient = random_gradient(key)
    theta, figures = step(gradient, 110)
    slope = jax.grad(lambda units: complexity.share(SHAPE, SHAPE, units))(layout.ones(SHAPE, NETWORKS))
    for name in NETWORKS:
        for t, g, s in zip(*map(jax.tree.leaves, (theta[name], gradient[name], slope[name])), strict=True):
            np.testing.assert_array_equal(t < 1, figures.price * SCALES[name] * s > -g)


def test_other_orders_keep_a_layers_gradients_and_give_them_to_other_units(key):
    gradient, score = random_gradient(key), random_gradient(jax.random.fold_in(key, 1))
    alive = layout.ones(SHAPE, NETWORKS)
    dead = alive | {"actor": (alive["actor"][0].at[2].set(0.0), alive["actor"][1])}
    after = thetas.reordered(gradient, score, dead)
    for a, g, s in zip(*map(jax.tree.leaves, (after["critic"], gradient["critic"], score["critic"])), strict=True):
        for row in range(2):
            np.testing.assert_array_equal(np.sort(a[row]), np.sort(g[row]))
            np.testing.assert_array_equal(np.argsort(-np.asarray(s[row])), np.argsort(np.asarray(a[row])))
    others = np.arange(9) != 2
    np.testing.assert_array_equal(np.sort(after["actor"][0][others]), np.sort(gradient["actor"][0][others]))


def test_nothing_is_charged_where_no_price_is_enough(key):
    """Otherwise the networks that can lose units would lose all of them."""
    theta, figures = step(random_gradient(key), 1000, scales=SCALES | {"critic": 0.0})
    assert figures.price == 0
    assert all((t == 1).all() for t in jax.tree.leaves(theta))


def test_nothing_is_charged_in_a_step_with_gradients_that_are_not_finite(key):
    """Otherwise the other units would have to make up for the cost of those that stay."""
    gradient = random_gradient(key)
    first, second = gradient["actor"]
    theta, figures = step(gradient | {"actor": (first.at[0].set(jnp.nan), second)}, 200)
    assert all((t == 1).all() for t in jax.tree.leaves(theta))
    assert figures == thetas.Figures(price=0, held=1)
