"""The baseline with another run's widths: the widths, the initialisation, and that padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_batch, tiny_config

import xinet_jax
from xinet_jax import agent as agents
from xinet_jax.agent.compaction import compact_member
from xinet_jax.errors import UserError
from xinet_jax.networks import complexity
from xinet_jax.networks.modules import Shape, action_features, make_networks, state_features
from xinet_jax.policy import files
from xinet_jax.training import from_widths as small


def widths_of(state_blocks, action_blocks, actor_hidden, critics_hidden, inputs=(17, 6, 17)):
    return tuple(Shape(*inputs, state_blocks, action_blocks, actor_hidden, hidden) for hidden in critics_hidden)


NARROW = widths_of((3, 0), (1, 2), (4, 3), ((5, 2), (3, 6)))
WIDE = widths_of((2, 4), (5, 0), (2, 6), ((8, 2), (8, 7)))


def make(widths=(NARROW, WIDE)):
    config = tiny_config(agent="small", widths_from="somewhere")
    dense = agents.make_agent(config, 17, 6)
    return small.make_agent(dense, widths), agents.make_hyper(config, 6)


def test_arrays_are_as_wide_as_the_widest_member_and_no_wider():
    agent, _ = make()
    shape = agent.networks.shape
    assert (shape.state_blocks, shape.action_blocks) == ((3, 4), (5, 2))
    assert (shape.actor_hidden, shape.critic_hidden) == ((4, 6), (8, 7))
    assert agent.dense.state_blocks == (5, 5)


@pytest.mark.parametrize("widths", [NARROW, WIDE])
def test_a_member_starts_as_its_own_small_networks_would(key, widths):
    agent, hyper = make()
    state = small.init(agent, hyper, widths, key)
    batch = random_batch(key)
    for twin in range(2):
        alone = agent._replace(networks=make_networks(widths[twin]))
        fresh = agents.init(alone, hyper, key)._replace(theta={}, alive={})
        actions = [agents.act(*pair, batch.observation, None) for pair in ((agent, state), (alone, fresh))]
        np.testing.assert_allclose(*actions, atol=1e-5)
        values = [action_value(*pair, batch)[twin] for pair in ((agent, state), (alone, fresh))]
        np.testing.assert_allclose(*values, atol=1e-5)
    counted = sum(row.parameters for row in complexity.count(agent.dense, agent.networks.shape, state.alive))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(make_params(shape, key))) for shape in widths]
    assert counted == sum(sizes)


def action_value(agent, state, batch):
    ofenet = (agent.networks, state.params["ofenet"], state.statistics, state.theta)
    z_o = state_features(*ofenet, batch.observation)
    z_oa = action_features(*ofenet, z_o, batch.action)
    return agent.networks.critic.apply({"params": state.target_critic}, z_oa, state.theta.get("critic"))


def make_params(shape, key):
    """Returns half an agent: one critic of the two, and (for the first) OFENet and actor."""
    networks = make_networks(shape)
    critic = networks.critic.init(key, jnp.zeros(shape.action_features))["params"]
    halves = [jax.tree.map(lambda leaf: leaf[0], critic)]
    if shape in (NARROW[0], WIDE[0]):
        halves.append(networks.ofenet.init(key, jnp.zeros(17), jnp.zeros(6))["params"])
        halves.append(networks.actor.init(key, jnp.zeros(shape.state_features))["params"])
    return halves


def test_padding_changes_nothing_and_learns_nothing(key):
    """Ten updates beside a wider member are ten updates alone, in every array; what pads stays shut."""
    twins_alike = (NARROW[0], NARROW[0])
    after = []
    for widths in ((twins_alike, WIDE), (twins_alike,)):
        agent, hyper = make(widths)
        state = start = small.init(agent, hyper, twins_alike, key)
        update = jax.jit(lambda s, k, a=agent, h=hyper: agents.update(a, h, s, random_batch(k), k, 5000, 0)[0])
        for step in range(10):
            state = update(state, jax.random.fold_in(key, step))
        jax.tree.map(np.testing.assert_array_equal, state.alive, start.alive)
        jax.tree.map(np.testing.assert_array_equal, state.theta, start.theta)
        after.append((agent, state))
    (wide, padded), (_, alone) = after
    members = jax.tree.map(np.asarray, padded)
    cut = compact_member(wide.networks.shape, members, members.alive)
    for (path, ours), theirs in zip(jax.tree.leaves_with_path(cut), jax.tree.leaves(alone), strict=True):
        ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
        assert np.linalg.norm(ours - theirs) <= 5e-3 * np.linalg.norm(theirs) + 2e-5, path


def test_uniform_widths_have_the_same_number_of_parameters():
    shape = agents.make_agent(xinet_jax.make_config(agent="ofenet"), 17, 6).dense
    widths = widths_of((0, 3, 0, 9), (20, 20, 7, 1), (100, 50), ((90, 80), (128, 40)))
    uniform = small.uniform_widths(shape, widths)
    layers = uniform[0].state_blocks + uniform[0].actor_hidden
    fractions = [width / dense for width, dense in zip(layers, (40,) * 4 + (128,) * 2, strict=True)]
    assert max(fractions) - min(fractions) < 0.02
    wanted, reached = map(small._parameters, (widths, uniform))
    assert abs(reached - wanted) < 0.03 * wanted
    assert uniform[0] == uniform[1]


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pruned"
    settings = {"nu": 20_000.0, "prune_ramp": 0, "theta_learning_rate": 5e-3, "final_episodes": 1, "eval_episodes": 1}
    return xinet_jax.train(tiny_config(task="Hopper-v5", seeds=2, out=str(folder), **settings), progress=False)


@pytest.mark.parametrize("uniform", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_with_the_widths_of_another(pruned, uniform, tmp_path):
    settings = {"widths_from": str(pruned.folder), "uniform_widths": uniform}
    lengths = {"steps": 40, "final_episodes": 1, "eval_episodes": 1}
    config = tiny_config(task="Hopper-v5", agent="small", seeds=2, out=str(tmp_path / "small"), **settings, **lengths)
    result = xinet_jax.train(config, progress=False)
    assert result.config.networks.blocks == 2
    for ours, theirs in zip(result.seeds, pruned.seeds, strict=True):
        assert [row.units_before for row in ours.structure.layers] == [
            row.units_before for row in theirs.structure.layers
        ]
        units = [[row.units for row in member.structure.layers] for member in (ours, theirs)]
        parameters = [sum(row.parameters for row in member.structure.layers) for member in (ours, theirs)]
        if uniform:
            assert units[0] != units[1]
            assert parameters[0] == pytest.approx(parameters[1], rel=0.2)
        else:
            assert units[0] == units[1]
        assert files.load_policy(ours.folder).structure.agent == "small"


def test_widths_that_do_not_fit_are_told(pruned, tmp_path):
    def message(**overrides):
        out = str(tmp_path / "run")
        settings = {"task": "Hopper-v5", "widths_from": str(pruned.folder)}
        config = tiny_config(agent="small", out=out, **settings | overrides)
        with pytest.raises(UserError) as caught:
            xinet_jax.train(config, progress=False)
        assert not (tmp_path / "run").exists()
        return str(caught.value)

    assert "has no seed 2: it has 0 1" in message(seeds=3)
    assert "holds a policy for Hopper-v5, not for HalfCheetah-v5" in message(task="HalfCheetah-v5")
    assert "does not exist" in message(widths_from=str(tmp_path / "nothing"))
    assert "blocks of agent small is that of widths_from, 2, not 7" in message(blocks=7)
