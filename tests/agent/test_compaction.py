import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import OPTIMISED, random_batch, take_critic, take_others, tiny_config

from xinet_jax import agent as agents
from xinet_jax.agent.compaction import compact_member
from xinet_jax.networks.modules import make_networks
from xinet_jax.policy import policy
from xinet_jax.pruning import compaction, folding
from xinet_jax.tasks.registry import load_task

ABOUT = {"task": load_task("HalfCheetah-v5", "native"), "seed": 7, "nu": None, "settings": {}}
ABOUT |= {"environment_steps": 1}


def pruned_agent(seed, keep_share, name="xinet", theta=None, **overrides):
    """Returns an agent with random arrays everywhere and a random part of its units pruned."""
    if name == "xinet":
        overrides |= {"gated": ("ofenet", "actor", "critic")}
    config = tiny_config(agent=name, **overrides)
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(seed))
    generator = np.random.default_rng(seed)
    noisy = lambda tree: jax.tree.map(lambda a: a + generator.uniform(0.1, 0.5, a.shape).astype(np.float32), tree)  # noqa: E731
    state = state._replace(params=noisy(state.params), statistics=noisy(state.statistics))
    alive = jax.tree.map(lambda a: jnp.asarray(generator.random(a.shape) < keep_share, a.dtype), state.alive)
    for network in ("actor", "critic"):
        if network in alive:
            alive[network] = tuple(layer.at[..., 0].set(1.0) for layer in alive[network])
    values = jax.tree.map(lambda a: a * (generator.uniform(0.2, 1.0, a.shape) if theta is None else theta), alive)
    return agent, state._replace(alive=alive, theta=values)


@pytest.mark.parametrize("keep_share", [1.0, 0.5, 0.2, 0.0])
def test_compacted_and_folded_networks_compute_the_same(keep_share):
    agent, state = pruned_agent(3, keep_share)
    net, shape = agent.networks, agent.networks.shape
    batch = random_batch(jax.random.PRNGKey(1))
    variables = {"params": state.params["ofenet"], "batch_stats": state.statistics}
    units = state.theta["ofenet"]
    z_o = net.ofenet.apply(variables, batch.observation, units, method=net.ofenet.state_features)
    z_oa = net.ofenet.apply(variables, z_o, batch.action, units, method=net.ofenet.action_features)
    prediction = net.ofenet.apply(variables, batch.observation, batch.action, units)
    values = net.critic.apply({"params": state.params["critic"]}, z_oa, state.theta["critic"])
    actions = net.actor.apply({"params": state.params["actor"]}, z_o, state.theta["actor"])

    keep = compaction.plan(shape, state.alive)
    params = folding.fold(shape, state.params, state.theta)
    left = jax.tree.map(lambda mask: int(mask.sum()), state.alive["ofenet"] | {"actor": state.alive["actor"]})
    small_shape = shape._replace(state_blocks=left["state"], action_blocks=left["action"], actor_hidden=left["actor"])
    small = make_networks(small_shape)
    taken = take_others(keep, params)
    ofenet = taken["ofenet"]
    small_variables = {"params": ofenet, "batch_stats": compaction.take(keep.statistics, state.statistics)}
    small_z_o = small.ofenet.apply(small_variables, batch.observation, method=small.ofenet.state_features)
    assert small_z_o.shape[-1] == small_shape.state_features
    small_z_oa = small.ofenet.apply(small_variables, small_z_o, batch.action, method=small.ofenet.action_features)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    if keep_share == 0.0:  # with no unit left there is nothing but the predictor's linear map
        assert set(ofenet) == {"predictor"}
        close(
            jnp.concatenate(small_z_oa, axis=-1) @ ofenet["predictor"]["kernel"] + ofenet["predictor"]["bias"],
            prediction,
        )
    else:
        close(small.ofenet.apply(small_variables, batch.observation, batch.action), prediction)
    close(small.actor.apply({"params": taken["actor"]}, small_z_o), actions)
    for twin in range(2):
        critic = take_critic(keep, params, twin)
        widths = tuple(int(layer[twin].sum()) for layer in state.alive["critic"])
        assert tuple(critic[f"hidden_{k + 1}"]["bias"].size for k in range(len(widths))) == widths
        mlp = type(small.actor)(widths, 1)
        close(mlp.apply({"params": critic}, small_z_oa)[..., 0], values[twin])


def test_moments_are_compacted_like_parameters():
    agent, state = pruned_agent(5, 0.5)
    keep = compaction.plan(agent.networks.shape, state.alive)
    params = take_others(keep, state.params)
    moments = take_others(keep, {name: moment.mu for name, moment in state.optimiser.items()})
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, moments)


def test_nothing_to_prune_changes_nothing():
    agent, state = pruned_agent(2, 1.0, theta=1.0)
    keep = compaction.plan(agent.networks.shape, state.alive)
    params = folding.fold(agent.networks.shape, state.params, state.theta)
    jax.tree.map(np.testing.assert_array_equal, compaction.take(keep.params, params), dict(state.params))


@pytest.mark.parametrize("name", ["sac", "ofenet", "xinet"])
@pytest.mark.parametrize("keep_share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("weights_see", ["open", "mean"])
def test_policy_acts_as_the_gated_agent_does(name, keep_share, weights_see):
    agent, state = pruned_agent(7, keep_share, name, **({"weights_see": weights_see} if name == "xinet" else {}))
    observation = np.random.default_rng(0).normal(size=(200, 17)) * 3
    about = ABOUT | {"name": name}
    saved = policy.from_agent(agent, state, **about)
    full = agents.act(agent, state, jnp.asarray(observation, jnp.float32), None)
    np.testing.assert_allclose(saved(observation), full, atol=1e-5)
    sizes = sum(leaf.size for leaf in jax.tree.leaves({k: v for k, v in saved.arrays.items() if k != "statistics"}))
    assert saved.structure.parameters == sizes
    if name == "xinet" and keep_share < 0.5:
        assert sizes < 0.7 * sum(leaf.size for leaf in jax.tree.leaves(state.params["actor"])) + 17 * 5


def test_with_compaction_off_a_policy_keeps_its_pruned_units():
    agent, state = pruned_agent(7, 0.5)
    whole = agent._replace(pruning=dataclasses.replace(agent.pruning, compact="off"))
    about = ABOUT | {"name": "xinet"}
    small, large = (policy.from_agent(variant, state, **about) for variant in (agent, whole))
    assert large.structure.state_blocks == agent.dense.state_blocks
    assert large.structure.parameters > small.structure.parameters
    assert large.structure.layers == small.structure.layers
    observation = np.random.default_rng(0).normal(size=(20, 17))
    np.testing.assert_allclose(large(observation), small(observation), atol=1e-5)


def test_a_network_without_gates_keeps_all():
    agent, state = pruned_agent(1, 0.5, "ofenet")
    assert compaction.rounded_widths(agent.dense, state.alive, 8) == agent.dense
    keep = compaction.plan(agent.dense, state.alive)
    kept = [keep.params["actor", name, "kernel"].twins[0][0] for name in ("hidden_2", "head")]
    assert [rows.size for rows in kept] == [7, 6]


def stacked(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@functools.cache
def compiled_update(agent, rules):
    """Returns one update of every member, compiled once per size and set of rules."""
    settings = {"theta_learning_rate": 1e-2, "nu": 50.0, "gated": ("ofenet", "actor", "critic")} | dict(rules)
    config = tiny_config(**settings)
    agent = agent._replace(pruning=config.pruning)
    hyper = agents.make_hyper(config, 6)

    def update(state, key, step):
        key_batch, key_update = jax.random.split(key)
        return agents.update(agent, hyper, state, random_batch(key_batch), key_update, 1000, step)[0]

    # Without LLVM's optimisation, which the other tests go without, XLA reads uninitialised memory at width one.
    narrow = 1 in agent.networks.shape.actor_hidden
    return jax.jit(jax.vmap(update, in_axes=(0, 0, None)), compiler_options=OPTIMISED if narrow else None)


def ten_updates(agent, state, rules):
    """Returns both members' states after ten updates in which theta moves and units may be pruned."""
    for step in range(10):
        state = compiled_update(agent, rules)(state, jax.random.split(jax.random.PRNGKey(step), 2), step)
    return state


# The share of units alive, per member: nothing pruned, some, members unlike each other, only what may not go.
@pytest.mark.parametrize(
    ("keep_shares", "multiple", "rules"),
    [
        pytest.param((1.0, 1.0), 4, {}, marks=pytest.mark.slow),
        pytest.param((0.5, 0.5), 1, {}, marks=pytest.mark.slow),
        ((0.0, 0.7), 4, {}),
        pytest.param((0.0, 0.0), 1, {}, marks=pytest.mark.slow),
        pytest.param((0.4, 0.6), 2, {"estimator": "disarm", "cost": "flops"}, marks=pytest.mark.slow),
        pytest.param((0.4, 0.6), 2, {"weights_see": "sampled", "weight_decay": 0.1}, marks=pytest.mark.slow),
        pytest.param((0.5, 0.4), 4, {"weights_see": "mean"}, marks=pytest.mark.slow),
    ],
)
def test_the_next_ten_updates_are_the_same(keep_shares, multiple, rules):
    rules = tuple(rules.items())
    made = [pruned_agent(seed, share) for seed, share in enumerate(keep_shares)]
    agent, state = made[0][0], stacked([pruned_state for _, pruned_state in made])
    widths = compaction.rounded_widths(agent.dense, jax.tree.map(np.asarray, state.alive), multiple)
    smaller_agent, smaller = agents.compact(agent, state, widths)
    if keep_shares == (1.0, 1.0):
        assert widths == agent.dense
    if keep_shares == (0.0, 0.0):
        assert widths.state_blocks == widths.action_blocks == (0, 0)
        assert widths.actor_hidden == widths.critic_hidden == (1, 1)
    assert smaller_agent.dense == agent.dense
    whole, small = (ten_updates(a, s, rules) for a, s in ((agent, state), (smaller_agent, smaller)))
    # What the untouched run would look like in small arrays: every network, target, moment, statistic, theta and mask.
    assert not whole.diverged.any()
    assert not small.diverged.any()
    whole, small = (states._replace(diverged=()) for states in (whole, small))
    members = [jax.tree.map(lambda leaf, m=member: np.asarray(leaf[m]), whole) for member in range(2)]
    kept = [compaction.kept_units(pruned_state.alive, widths) for _, pruned_state in made]
    expected = stacked([compact_member(agent.dense, *pair) for pair in zip(members, kept, strict=True)])
    assert jax.tree.structure(expected) == jax.tree.structure(small)
    assert any((np.asarray(leaf) < 1).any() for leaf in jax.tree.leaves(small.theta)), "theta must have moved"
    for (path, ours), theirs in zip(jax.tree.leaves_with_path(small), jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path)
        assert np.linalg.norm(ours - theirs) <= 5e-3 * np.linalg.norm(theirs) + 1e-6, name
    observation = random_batch(jax.random.PRNGKey(9)).observation
    for member in range(2):
        one, other = (jax.tree.map(lambda leaf, m=member: leaf[m], states) for states in (whole, small))
        actions = [agents.act(*pair, observation, None) for pair in ((agent, one), (smaller_agent, other))]
        np.testing.assert_allclose(*actions, atol=1e-3)


def test_precision_is_kept():
    agent, state = pruned_agent(1, 0.5, precision="bfloat16")
    widths = compaction.rounded_widths(agent.dense, stacked([state.alive]), 1)
    smaller, _ = agents.compact(agent, stacked([state]), widths)
    assert smaller.networks.precision == smaller.networks.critic.precision == "bfloat16"


def test_compacting_twice_is_compacting_once():
    agent, early = pruned_agent(4, 0.8)
    _, late = pruned_agent(4, 0.8)
    fewer = jax.tree.map(lambda leaf: leaf * (jnp.arange(leaf.shape[-1]) % 3 > 0), early.alive)
    fewer = fewer | {name: tuple(layer.at[..., 0].set(1.0) for layer in fewer[name]) for name in ("actor", "critic")}
    late = early._replace(alive=fewer, theta=jax.tree.map(jnp.multiply, early.theta, fewer))
    widths = compaction.rounded_widths(agent.dense, stacked([early.alive]), 1)
    between, smaller = agents.compact(agent, stacked([early]), widths)
    pick = lambda full, index: jnp.take_along_axis(full, jnp.asarray(index[0]), -1)  # noqa: E731
    masks = jax.tree.map(pick, fewer, dict(smaller.origin))
    alive = jax.tree.map(lambda leaf: leaf[None], masks)
    smaller = smaller._replace(alive=alive, theta=jax.tree.map(jnp.multiply, smaller.theta, alive))
    final = compaction.rounded_widths(between.networks.shape, alive, 1)
    twice, once = (agents.compact(a, s, final) for a, s in ((between, smaller), (agent, stacked([late]))))
    assert twice[0].networks.shape == once[0].networks.shape
    jax.tree.map(np.testing.assert_array_equal, twice[1], once[1])
