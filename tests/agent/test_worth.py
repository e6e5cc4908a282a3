"""What units are worth: exact where outputs are affine in each gate, and close to what leaving a unit out does."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALLEST, random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.worth import standardised_outputs, worth
from xinet_jax.networks.modules import Gate

GATED = ("ofenet", "actor", "critic")
UNITS = 12  # of a block


@pytest.fixture(scope="module")
def trained():
    """An agent with gates everywhere, its hyper-parameters, its state after an update, and the minibatch."""
    settings = SMALLEST | {"gated": GATED, "estimator": "fisher", "block_units": UNITS, "nu": 30.0}
    config = tiny_config(**settings, prune_start=21, prune_ramp=0, theta_learning_rate=1e-2)
    agent, hyper, key = agents.make_agent(config, 17, 6), agents.make_hyper(config, 6), jax.random.PRNGKey(0)
    state, batch = agents.init(agent, hyper, key), random_batch(key, size=32)
    return agent, hyper, jax.jit(partial(agents.update_weights, agent, hyper))(state, batch, key)[0], batch


@pytest.fixture(scope="module")
def worth_of(trained):
    """`worth` by one probe for `(state, key)`."""
    agent, _, _, batch = trained
    return jax.jit(lambda state, key: worth(agent, state, batch, key))


def divergence(trained, units):
    """Returns half the mean squared change of the outputs of all networks by gates [nats]."""
    agent, _, state, batch = trained
    pairs = (jax.tree.leaves(standardised_outputs(agent, state, batch, gates)) for gates in (state.alive, units))
    return sum(0.5 * jnp.square(a - b).sum() for a, b in zip(*pairs, strict=True)) / batch.reward.size


def without(mask):
    return Gate(mask, 1.0 - mask)


def test_worth_is_exact_where_the_output_is_affine_in_each_gate(key, trained, worth_of):
    """Critics are affine in the gates of their last layer and have one output, so that one probe is exact."""
    state = trained[2]
    gate = state.alive["critic"][-1]
    exact = jax.jit(
        jax.vmap(lambda j: divergence(trained, {"critic": (without(gate.ravel().at[j].set(0.0).reshape(gate.shape)),)}))
    )(jnp.arange(gate.size))
    assert exact.max() > 1e-6
    np.testing.assert_allclose(worth_of(state, key)["critic"][-1].ravel(), exact, rtol=1e-4, atol=1e-9)


def test_worth_orders_units_as_leaving_them_out_does(key, trained):
    agent, _, state, batch = trained

    def left_out(j):
        block = without(jnp.ones(UNITS).at[j].set(0.0))
        return divergence(trained, {"ofenet": {"state": (block,), "action": state.alive["ofenet"]["action"]}})

    truth = jax.jit(jax.vmap(left_out))(jnp.arange(UNITS))
    values = jax.jit(lambda: worth(agent, state, batch, key, probes=100))()["ofenet"]["state"][0]
    ranks = [np.argsort(np.argsort(row)) for row in (truth, values)]
    assert np.corrcoef(*ranks)[0, 1] > 0.9
    assert 0.5 < float(values.sum() / truth.sum()) < 2.0


def test_probes_average_to_the_squared_derivatives_of_every_output(key, trained):
    agent, _, state, batch = trained
    batch = jax.tree.map(lambda leaf: leaf[:4], batch)
    gates = jax.tree.map(lambda alive: jnp.ones((*alive.shape[:-1], 4, alive.shape[-1])), state.alive)

    def outputs(xi):
        every = standardised_outputs(agent, state, batch, jax.tree.map(without, xi))
        return jnp.concatenate([output.ravel() for output in every.values()])

    jacobian = jax.jit(jax.jacrev(outputs))(gates)
    exact = jax.tree.map(lambda d: 0.5 * jnp.square(d).sum(axis=0).mean(axis=-2), jacobian)
    estimate = jax.jit(lambda: worth(agent, state, batch, key, probes=3000))()
    for close, true in zip(jax.tree.leaves(estimate), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(close, true, rtol=0.25, atol=1e-7)
        assert abs(float(close.sum() / true.sum()) - 1) < 0.05


def test_pruned_units_are_worth_nothing(key, trained, worth_of):
    state = trained[2]
    alive = jax.tree.map(lambda mask: mask.at[..., 0].set(0.0), state.alive)
    for value, mask in zip(*map(jax.tree.leaves, (worth_of(state._replace(alive=alive), key), alive)), strict=True):
        assert np.isfinite(value).all()
        assert (np.asarray(value)[np.asarray(mask) < 0.5] == 0).all()
        assert (value > 0).any()


def test_the_actors_say_in_ofenets_worth_can_be_taken_away(key, trained):
    agent, _, state, batch = trained
    silent = agent._replace(pruning=dataclasses.replace(agent.pruning, actor_speaks=False))
    loud, quiet = (jax.jit(lambda a=a: worth(a, state, batch, key, probes=32)["ofenet"])() for a in (agent, silent))
    assert loud["state"][0].sum() > quiet["state"][0].sum()


def test_theta_rises_by_the_worth_and_falls_by_the_price(key, trained, worth_of):
    agent, hyper, state, batch = trained
    state = state._replace(theta=jax.tree.map(lambda theta: jnp.full_like(theta, 0.7), state.theta))
    step = jax.jit(lambda hyper: agents.update_theta(agent, hyper, state, batch, key, 100)[0].theta)
    free, priced, values = step(hyper._replace(nu=0.0)), step(hyper), worth_of(state, key)
    for without_price, with_price, value in zip(*map(jax.tree.leaves, (free, priced, values)), strict=True):
        np.testing.assert_allclose(without_price, np.clip(0.7 + 1e-2 * value, 0, 1), rtol=1e-5)
        assert ((with_price < without_price) | (with_price == 1)).all()
