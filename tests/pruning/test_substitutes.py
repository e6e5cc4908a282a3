"""What others can say of pruned units stays: all for one transition, means, and what is linear in those that stay."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.state import acting_gates
from xinet_jax.networks import layout
from xinet_jax.networks.modules import Shape, make_networks
from xinet_jax.pruning import gates
from xinet_jax.pruning import substitutes as replacement

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
        jax.tree.structure(layout.ones(shape)),
        [jax.random.uniform(keys[3], leaf.shape) for leaf in jax.tree.leaves(layout.ones(shape))],
    )
    return made, params, statistics, units


@partial(jax.jit, static_argnums=0)
def read(made, params, statistics, units, batch):
    """Returns every output: the prediction, the actor's, and both critics'."""
    variables = {"params": params["ofenet"], "batch_stats": statistics}
    prediction = made.ofenet.apply(variables, batch.observation, batch.action, units.get("ofenet"))
    z_o = made.ofenet.apply(variables, batch.observation, units.get("ofenet"), method="state_features")
    z_oa = made.ofenet.apply(variables, z_o, batch.action, units.get("ofenet"), method="action_features")
    actor = made.actor.apply({"params": params["actor"]}, z_o, units.get("actor"))
    critic = made.critic.apply({"params": params["critic"]}, z_oa, units.get("critic"))
    return prediction, actor, critic


@partial(jax.jit, static_argnums=0)
def replaced(made, params, statistics, units, lost, batch):
    stays = jax.tree.map(lambda gone: 1.0 - gone, lost)
    return replacement.without(made, params, statistics, units, stays, lost, batch)


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
    after = read(made, *replaced(made, params, statistics, units, lost, batch), left, batch)
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
    now, _, _ = read(made, *after, left, batch)
    np.testing.assert_allclose(prediction.mean(axis=0), now.mean(axis=0), atol=1e-5)
    assert np.abs(prediction - now).max() > 1e-2
    whole = left | {"ofenet": units["ofenet"]}
    only_critic = lost | {"ofenet": jax.tree.map(jnp.zeros_like, lost["ofenet"])}
    _, _, value = read(made, params, statistics, units, batch)
    _, _, now = read(made, *replaced(made, params, statistics, units, only_critic, batch), whole, batch)
    np.testing.assert_allclose(value.mean(axis=-1), now.mean(axis=-1), atol=1e-5)
    assert np.abs(value - now).max() > 1e-2


def changes_left(made, params, statistics, units, lost, batch, blunt):
    """Returns, for every output, the mean squared change by pruning as a share of that with other arrays, `blunt`."""
    left = jax.tree.map(jnp.subtract, units, lost)
    before = read(made, params, statistics, units, batch)
    with_substitutes = replaced(made, params, statistics, units, lost, batch)
    after, without = (read(made, *arrays, left, batch) for arrays in (with_substitutes, blunt))
    return [
        np.square(now - original).mean() / np.square(other - original).mean()
        for now, other, original in zip(after, without, before, strict=True)
    ]


def halves(units):
    """Returns masks of every layer's second half."""
    return jax.tree.map(
        lambda unit: jnp.broadcast_to(jnp.arange(unit.shape[-1]) >= unit.shape[-1] // 2, unit.shape) * 1.0, units
    )


def twice(params):
    """Returns parameters in which, in the heads and in OFENet's first blocks of 6, a layer's second half says what its
    first does."""

    def columns(layer, width=None):
        half = lambda leaf: (width or leaf.shape[-1]) // 2  # noqa: E731
        return {
            name: jnp.concatenate([leaf[..., : half(leaf)], leaf[..., : half(leaf)], leaf[..., 2 * half(leaf) :]], -1)
            for name, leaf in layer.items()
        }

    def head(layers):
        return {name: layer if name == "head" else columns(layer) for name, layer in layers.items()}

    branches = {
        name: branch | {"input": columns(branch["input"], 6), "norm_1": columns(branch["norm_1"])}
        for name, branch in params["ofenet"].items()
        if name != "predictor"
    }
    heads = {"actor": head(params["actor"]), "critic": {"twins": head(params["critic"]["twins"])}}
    return params | heads | {"ofenet": params["ofenet"] | branches}


def test_copies_go_without_a_trace(key):
    shape = SHAPE._replace(state_blocks=(6, 5), action_blocks=(6, 5), actor_hidden=(8, 6), critic_hidden=(8, 4))
    made, params, statistics, units = make(shape, key)
    params, units, batch = twice(params), layout.ones(shape), random_batch(key, 5, 2, size=256)
    lost = halves(units)
    lost["ofenet"] = {name: (masks[0], jnp.zeros(5)) for name, masks in lost["ofenet"].items()}
    # Ridge regression holds back RIDGE / (1 + RIDGE) of a copy, layer after layer.
    untouched = (params, statistics)
    assert all(share < 0.02 for share in changes_left(made, params, statistics, units, lost, batch, untouched))


def test_features_of_other_blocks_can_say_what_is_lost(key):
    """Heads and predictor read every block: where the second says what the first does, it goes without a trace."""
    shape = SHAPE._replace(state_blocks=(6, 6), action_blocks=(0, 0))
    made, params, statistics, _ = make(shape, key)
    units, batch, state = layout.ones(shape), random_batch(key, 5, 2, size=256), params["ofenet"]["state"]
    copied = {name: jnp.concatenate([leaf[..., :6], leaf[..., :6]], axis=-1) for name, leaf in state["input"].items()}
    state = state | {"input": copied, "block_1": {"kernel": jnp.zeros((6, 6))}}
    params = params | {"ofenet": params["ofenet"] | {"state": state}}
    lost = jax.tree.map(jnp.zeros_like, units)
    lost["ofenet"]["state"] = (jnp.zeros(6), jnp.ones(6))
    untouched = (params, statistics)
    assert all(share < 0.01 for share in changes_left(made, params, statistics, units, lost, batch, untouched))


def test_features_that_changed_on_the_way_are_made_good(key):
    """A whole first block is lost, and the second, which read it, is no longer what it was."""
    shape = SHAPE._replace(state_blocks=(8, 8), action_blocks=(8, 8))
    made, params, statistics, _ = make(shape, key)
    units, batch = layout.ones(shape), random_batch(key, 5, 2, size=512)
    lost = jax.tree.map(jnp.zeros_like, units)
    lost["ofenet"]["state"] = (jnp.ones(8), jnp.zeros(8))
    stays = jax.tree.map(lambda gone: 1.0 - gone, lost)
    means = replacement.without(made, params, statistics, units, stays, lost, batch, ridge=1e9)
    assert all(share < 0.2 for share in changes_left(made, params, statistics, units, lost, batch, means))


def test_what_hardly_ever_speaks_is_hardly_relied_on(key):
    """Units that fire in a handful of transitions, and faintly, get no large weights."""
    x = jax.random.normal(key, (1024, 8)) @ jax.random.normal(jax.random.fold_in(key, 1), (8, 32))
    faint = 1e-3 * jax.nn.relu(x[:, :8] - 2.5 * x[:, :8].std(axis=0))
    output = jnp.concatenate([faint, jax.nn.relu(x)], axis=1)
    lost = (jnp.arange(40) >= 30) * 1.0
    mix = replacement.substitute(output, 1.0 - lost, output * lost).mix
    assert np.abs(mix[:8]).max() < 1.0 < np.abs(mix).sum()
    quiet = output.at[:, 3].set(0.0)
    assert np.abs(replacement.substitute(quiet, 1.0 - lost, quiet * lost).mix[3]).max() == 0.0


def test_substitutes_are_ridge_regression(key):
    """Against the normal equations, solved in double precision."""
    key_x, key_mix = jax.random.split(key)
    x = jax.random.normal(key_x, (2, 300, 12)) @ jax.random.normal(key_mix, (12, 40)) * jnp.linspace(1.0, 4.0, 40) + 3.0
    output = jax.nn.relu(x)
    lost = jnp.stack([jnp.arange(40) % 3 == 0, jnp.arange(40) < 20]) * 1.0
    stays = jnp.stack([jnp.arange(40) % 3 == 1, jnp.arange(40) >= 20]) * 1.0  # of the first some are long gone
    substitutes = jax.vmap(replacement.substitute)(output, stays, output * lost[:, None])
    for twin in range(2):
        h, out, kept = np.asarray(output[twin], np.float64), lost[twin] > 0.5, stays[twin] > 0.5
        covariance = np.cov(h.T, bias=True)
        system = covariance[np.ix_(kept, kept)] + replacement.RIDGE * np.diag(np.diag(covariance)[kept])
        mix = np.linalg.solve(system, covariance[np.ix_(kept, out)])
        expected = h.mean(axis=0)[out] + (h - h.mean(axis=0))[:, kept] @ mix
        estimate = substitutes.constant[twin] + h @ np.asarray(substitutes.mix[twin], np.float64)
        np.testing.assert_allclose(estimate[:, out], expected, atol=2e-2 * h[:, out].std())
        assert (estimate[:, ~out] == 0).all()
        residual = np.square(estimate[:, out] - h[:, out]).sum() / np.square(h[:, out] - h[:, out].mean(axis=0)).sum()
        assert residual < 0.5, "there is something to be learnt from the others"


def test_layers_that_are_regressed_together_do_not_notice(key):
    """Narrow ones are padded, and twins are taken apart; one that is not finite has nothing to say to the others."""
    shape = SHAPE._replace(state_blocks=(3, 0, 5), actor_hidden=(7, 2))
    layer = lambda leaf: jax.random.normal(key, (*leaf.shape[:-1], 64, leaf.shape[-1])).cumsum(-1)  # noqa: E731
    outputs = jax.tree.map(layer, layout.ones(shape))
    outputs |= {"target_critic": jax.tree.map(jnp.flip, outputs["critic"])}
    outputs["actor"] = (outputs["actor"][0].at[3, 1].set(jnp.inf), outputs["actor"][1])
    lost = jax.tree.map(lambda leaf: jnp.arange(leaf.shape[-1]) % 3 * leaf == 1.0, layout.ones(shape))
    lost = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), lost | {"target_critic": lost["critic"]})
    stays = jax.tree.map(lambda gone: 1.0 - gone, lost)
    together = jax.jit(replacement.substitutes)(outputs, stays, lost)
    twins = lambda leaf: jax.vmap(replacement.substitute) if leaf.ndim == 3 else replacement.substitute  # noqa: E731
    alone = jax.tree.map(
        lambda output, mask, gone: twins(output)(output, mask, output * gone[..., None, :]), outputs, stays, lost
    )
    assert jax.tree.structure(together) == jax.tree.structure(alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), together, alone)
    assert all(not np.any(array) for array in together["actor"][0])
    assert np.abs(together["ofenet"]["state"][2].mix).max() > 0.1
    assert np.abs(together["critic"][0].mix - together["target_critic"][0].mix).max() > 0.1
    assert set(replacement.substitutes(outputs, {"actor": stays["actor"]}, {"actor": lost["actor"]})) == {"actor"}


@pytest.mark.parametrize(
    "settings",
    [
        {"agent": "xinet"},
        {"agent": "xinet", "weights_see": "mean"},
        {"agent": "magnitude", "final_share": 0.5},
        {"agent": "random", "final_share": 0.5},
        {"agent": "xinet", "gated": ("actor",)},
    ],
)
def test_pruning_leaves_what_networks_compute(settings, key):
    """On transitions that are all the same; and where they are no numbers, nothing is learnt from them."""
    config = tiny_config(**{"gated": ("ofenet", "actor", "critic"), "prune_start": 1, "steps": 6000} | settings)
    agent = agents.make_agent(config, 17, 6)
    hyper = agents.make_hyper(config, 6)
    state = agents.init(agent, hyper, key)
    # The slow critics are others than the fast ones.
    state = state._replace(target_critic=jax.tree.map(lambda leaf: leaf * 1.5, state.target_critic))
    if agent.pruner == "theta":
        low = jax.tree.map(lambda u: jnp.where(u < 0.5, 0.01, 1.0), gates.uniform(key, agent.dense, state.origin))
        state = state._replace(theta=low)
        if config.pruning.weights_see == "mean":
            state = state._replace(theta=jax.tree.map(lambda theta: jnp.minimum(theta, 0.7), low))
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], 16, axis=0), random_batch(key))
    prune = jax.jit(lambda s, b: agents.prune(agent, s, b, key, 1000))
    after = prune(state, batch)
    gone = jax.tree.map(lambda old, new: int((old - new).sum()), state.alive, after.alive)
    assert all(sum(jax.tree.leaves(gone[name])) > 0 for name in config.gated), gone
    assert sum(jax.tree.leaves(after.alive["actor"])[0]) > 0

    def every_output(of, critic):
        params = of.params | {"critic": critic}
        return read(agent.networks, params, of.statistics, acting_gates(agent, of), batch)

    for before, now in ((state.params["critic"], after.params["critic"]), (state.target_critic, after.target_critic)):
        for a, b in zip(every_output(state, before), every_output(after, now), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
        for (path, x), y in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(now), strict=True):
            # Outputs that never vary are learnt from no other unit: biases alone have moved.
            if path[-1].key != "bias":
                np.testing.assert_allclose(x, y, atol=1e-3)

    ill = batch._replace(observation=batch.observation.at[3, 2].set(jnp.inf))
    blunt = prune(state, ill)
    jax.tree.map(np.testing.assert_array_equal, blunt.alive, after.alive)
    jax.tree.map(
        np.testing.assert_array_equal,
        (blunt.params, blunt.target_critic, blunt.statistics),
        (state.params, state.target_critic, state.statistics),
    )
    diverged = state._replace(diverged=jnp.bool_(True))
    jax.tree.map(np.testing.assert_array_equal, prune(diverged, ill), diverged)
