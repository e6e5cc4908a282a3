"""What pruned units gave on average stays: exactly so for one transition, and for means of what is linear in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax import gates, replacement
from xinet_jax.networks import Shape, make_networks

SHAPE = Shape(5, 2, 5, (3, 4), (2, 3), (7, 6), (8,))


def make(shape, key):
    keys = jax.random.split(key, 5)
    made = make_networks(shape)
    ofenet = made.ofenet.init(keys[0], jnp.zeros(5), jnp.zeros(2))
    params = {
        "ofenet": ofenet.get("params", {}),
        "actor": made.actor.init(keys[1], jnp.zeros(shape.state_features))["params"],
        "critic": made.critic.init(keys[2], jnp.zeros(shape.action_features))["params"],
    }
    statistics = jax.tree.map(lambda leaf: leaf + 0.3, ofenet.get("batch_stats", {}))
    units = jax.tree.unflatten(
        jax.tree.structure(gates.ones(shape)),
        [jax.random.uniform(keys[3], leaf.shape) for leaf in jax.tree.leaves(gates.ones(shape))],
    )
    return made, params, statistics, units


def read(made, params, statistics, units, batch):
    """Returns every output: the prediction, the actor's, and both critics'."""
    variables = {"params": params["ofenet"], "batch_stats": statistics}
    prediction = made.ofenet.apply(variables, batch.observation, batch.action, units["ofenet"])
    z_o = made.ofenet.apply(variables, batch.observation, units["ofenet"], method="state_features")
    z_oa = made.ofenet.apply(variables, z_o, batch.action, units["ofenet"], method="action_features")
    actor = made.actor.apply({"params": params["actor"]}, z_o, units["actor"])
    critic = made.critic.apply({"params": params["critic"]}, z_oa, units["critic"])
    return prediction, actor, critic


def replaced(made, params, statistics, units, lost, batch):
    outputs = replacement.outputs(made, params, statistics, units, batch)
    stays = jax.tree.map(lambda gone: 1.0 - gone, lost)
    substitutes = jax.tree.map(replacement.substitute, outputs, stays, lost)
    return replacement.add(params, replacement.shifts(made.shape, params, substitutes))


@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        SHAPE._replace(state_blocks=(), action_blocks=()),
        SHAPE._replace(state_blocks=(0, 0), action_blocks=(0, 0)),
        SHAPE._replace(state_blocks=(0, 4), action_blocks=(2, 0)),
        SHAPE._replace(state_blocks=(3, 0, 2), action_blocks=(0, 0, 1), actor_hidden=(1,)),
    ],
)
def test_for_a_single_transition_nothing_changes_whatever_is_pruned(shape, key):
    made, params, statistics, units = make(shape, key)
    batch = random_batch(key, 5, 2, size=1)
    lost = jax.tree.map(lambda unit: (unit < 0.5).astype(jnp.float32), units)
    left = jax.tree.map(lambda unit, gone: unit * (1.0 - gone), units, lost)
    before = read(made, params, statistics, units, batch)
    after = read(made, replaced(made, params, statistics, units, lost, batch), statistics, left, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), before, after)
    without = read(made, params, statistics, left, batch)
    # Without features there is no prediction to change.
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()) > 1e-3, before, without)
    assert jax.tree.leaves(moved[0])[-1] == (sum(shape.action_blocks) > 0)
    assert moved[1:] == (True, True)


def test_means_over_a_batch_stay_where_the_reader_is_linear(key):
    made, params, statistics, units = make(SHAPE, key)
    batch = random_batch(key, 5, 2, size=64)
    lost = jax.tree.map(jnp.zeros_like, units)
    lost["ofenet"]["action"] = (lost["ofenet"]["action"][0], jnp.array([1.0, 0.0, 1.0]))  # read by the predictor
    lost["critic"] = (jnp.tile(jnp.arange(8.0) % 2, (2, 1)),)  # read by the head
    left = jax.tree.map(lambda unit, gone: unit * (1.0 - gone), units, lost)
    after = replaced(made, params, statistics, units, lost, batch)
    prediction, _, _ = read(made, params, statistics, units, batch)
    now, _, _ = read(made, after, statistics, left, batch)
    np.testing.assert_allclose(prediction.mean(axis=0), now.mean(axis=0), atol=1e-5)
    assert np.abs(prediction - now).max() > 1e-2
    whole = left | {"ofenet": units["ofenet"]}
    only_critic = lost | {"ofenet": jax.tree.map(jnp.zeros_like, lost["ofenet"])}
    _, _, value = read(made, params, statistics, units, batch)
    _, _, now = read(made, replaced(made, params, statistics, units, only_critic, batch), statistics, whole, batch)
    np.testing.assert_allclose(value.mean(axis=-1), now.mean(axis=-1), atol=1e-5)
    assert np.abs(value - now).max() > 1e-2


@pytest.mark.parametrize(
    "settings",
    [
        {"agent": "xinet", "nu": 1e4, "theta_learning_rate": 0.1},
        {"agent": "xinet", "nu": 1e4, "theta_learning_rate": 0.1, "weights_see": "mean"},
        {"agent": "magnitude", "final_share": 0.5},
        {"agent": "random", "final_share": 0.5},
    ],
)
def test_an_update_that_prunes_leaves_what_networks_compute(settings, key):
    """On transitions that are all the same, and with nothing learnt but what to prune."""
    config = tiny_config(gated=("ofenet", "actor", "critic"), prune_start=1, steps=6000, **settings)
    agent = agents.make_agent(config, 17, 6)
    hyper = agents.make_hyper(config, 6)._replace(learning_rate=0.0, tau=0.0)
    state = agents.init(agent, hyper, key)
    # The slow critics are others than the fast ones.
    state = state._replace(target_critic=jax.tree.map(lambda leaf: leaf * 1.5, state.target_critic))
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], 16, axis=0), random_batch(key))
    after, _ = jax.jit(lambda s: agents.update(agent, hyper, s, batch, key, 1000, 0))(state)
    gone = jax.tree.map(lambda old, new: int((old - new).sum()), state.alive, after.alive)
    assert all(sum(jax.tree.leaves(gone[name])) > 0 for name in ("ofenet", "actor", "critic")), gone
    assert sum(jax.tree.leaves(after.alive["actor"])[0]) > 0

    def every_output(of, critic):
        own = of.params | {"critic": critic}
        return read(agent.networks, own, state.statistics, after.alive if of is after else state.alive, batch)

    for before, now in ((state.params["critic"], after.params["critic"]), (state.target_critic, after.target_critic)):
        for a, b in zip(every_output(state, before), every_output(after, now), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        assert all(  # biases alone have moved
            (x == y).all() or path[-1].key == "bias"
            for (path, x), y in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(now), strict=True)
        )
