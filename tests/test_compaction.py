import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch, tiny_config

from xinet_jax import agent as agents
from xinet_jax import compaction, gates, policy
from xinet_jax.networks import make_networks


def pruned_agent(seed, keep_share, name="xinet", theta=None):
    """Returns an agent with random arrays everywhere and a random part of its units pruned."""
    config = tiny_config(agent=name, gated=("ofenet", "actor", "critic") if name == "xinet" else ())
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
    params = compaction.fold(shape, state.params, state.theta)
    small = make_networks(keep.shape)
    ofenet = compaction.take(keep.ofenet, params["ofenet"])
    small_variables = {"params": ofenet, "batch_stats": compaction.take(keep.statistics, state.statistics)}
    small_z_o = small.ofenet.apply(small_variables, batch.observation, method=small.ofenet.state_features)
    assert small_z_o.shape[-1] == keep.shape.state_features
    small_z_oa = small.ofenet.apply(small_variables, small_z_o, batch.action, method=small.ofenet.action_features)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    if keep_share == 0.0:  # with no unit left there is nothing but the predictor's linear map
        assert set(ofenet) == {"predictor"}
        close(small_z_oa @ ofenet["predictor"]["kernel"] + ofenet["predictor"]["bias"], prediction)
    else:
        close(small.ofenet.apply(small_variables, batch.observation, batch.action), prediction)
    actor = compaction.take(keep.actor, params["actor"])
    close(small.actor.apply({"params": actor}, small_z_o), actions)
    for twin in range(2):
        one = jax.tree.map(lambda leaf, twin=twin: leaf[twin], params["critic"]["twins"])
        critic = compaction.take(keep.critics[twin], one)
        widths = keep.critic_hidden[twin]
        assert tuple(critic[f"hidden_{k + 1}"]["bias"].size for k in range(len(widths))) == widths
        mlp = type(small.actor)(widths, 1)
        close(mlp.apply({"params": critic}, small_z_oa)[..., 0], values[twin])


def test_moments_are_compacted_like_parameters():
    agent, state = pruned_agent(5, 0.5)
    keep = compaction.plan(agent.networks.shape, state.alive)
    params = compaction.take(keep.ofenet, state.params["ofenet"])
    moments = compaction.take(keep.ofenet, state.optimiser["ofenet"].mu)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, moments)


def test_nothing_to_prune_changes_nothing():
    agent, state = pruned_agent(2, 1.0, theta=1.0)
    keep = compaction.plan(agent.networks.shape, state.alive)
    assert keep.shape == agent.networks.shape
    params = compaction.fold(agent.networks.shape, state.params, state.theta)
    for network, tree in (("ofenet", keep.ofenet), ("actor", keep.actor)):
        jax.tree.map(np.testing.assert_array_equal, compaction.take(tree, params[network]), dict(state.params[network]))


@pytest.mark.parametrize("name", ["sac", "ofenet", "xinet"])
@pytest.mark.parametrize("keep_share", [0.0, 0.3, 0.9])
def test_policy_acts_as_the_gated_agent_does(name, keep_share):
    agent, state = pruned_agent(7, keep_share, name)
    observation = np.random.default_rng(0).normal(size=(200, 17)) * 3
    saved = policy.from_agent(
        agent.networks.shape, state, task="HalfCheetah-v5", agent=name, seed=7, environment_steps=1
    )
    full = agents.act(agent, state, jnp.asarray(observation, jnp.float32), None)
    np.testing.assert_allclose(saved(observation), full, atol=1e-5)
    sizes = sum(leaf.size for leaf in jax.tree.leaves({k: v for k, v in saved.arrays.items() if k != "statistics"}))
    assert saved.structure.parameters == sizes
    if name == "xinet" and keep_share < 0.5:
        assert sizes < 0.7 * sum(leaf.size for leaf in jax.tree.leaves(state.params["actor"])) + 17 * 5


def test_plan_of_a_network_without_gates_keeps_all():
    agent, state = pruned_agent(1, 0.5, "ofenet")
    assert compaction.plan(agent.networks.shape, state.alive).shape == agent.networks.shape
    assert gates.complete(agent.networks.shape, {})["actor"][0].shape == (7,)
