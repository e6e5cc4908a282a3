"""Predicted memory against XLA's own count, and the refusal of what cannot fit."""

from functools import partial

import jax
import pytest
from helpers import random_batch, tiny_config

import xinet_jax
from xinet_jax import agent as agents
from xinet_jax.agent.replay import MORE, Buffer
from xinet_jax.config import make_config
from xinet_jax.errors import UserError
from xinet_jax.networks import layout
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import members, memory, setup
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.program import make_program


@pytest.mark.parametrize(
    ("name", "envs"),
    [("xinet", 1), ("ofenet", 1), ("sac", 1), ("sac", 5), pytest.param("magnitude", 1, marks=pytest.mark.slow)],
)
def test_prediction_holds_what_xla_counts_and_not_much_more(name, envs):
    settings = ({} if name == "sac" else {"blocks": 3}) | ({"prune_stop": None} if name == "xinet" else {})
    config = make_config(agent=name, engine="native", **settings)
    task = load_task(config.task, config.engine)
    agent = agents.make_agent(config, task.observation_size, task.action_size, task.predicted_size)
    buffer = Buffer(config.steps // envs, config.sac.batch_size, envs)
    program = make_program(agent, task, buffer, 1, make_mesh(1, 1))
    identities = members.identities(config)
    hyper = members.hyper_of_members(config, task.action_size, identities)
    state = jax.eval_shape(program.init, hyper, members.seeds_of_members(identities))
    counted = program.train.lower(hyper, state, 300, 1, 0).compile().memory_analysis()
    needed = memory.predict(agent, buffer)
    assert needed.replay + needed.agent == pytest.approx(counted.argument_size_in_bytes, rel=1e-3)
    assert counted.temp_size_in_bytes <= needed.working <= 2.5 * counted.temp_size_in_bytes


@pytest.mark.parametrize("block_units", [40, pytest.param(512, marks=pytest.mark.slow)])
def test_prediction_holds_what_pruning_wide_blocks_needs(block_units):
    """Substitutes are as large as the square of a layer, or of all features, whatever the minibatch."""
    config = make_config(engine="native", block_units=block_units, batch_size=64)
    agent = agents.make_agent(config, 17, 6)
    state = jax.eval_shape(partial(agents.init, agent, agents.make_hyper(config, 6)), jax.random.PRNGKey(0))
    several = jax.eval_shape(lambda: random_batch(jax.random.PRNGKey(0), size=MORE * 64))
    prune = jax.jit(lambda state, batch, key: agents.prune(agent, state, batch, key, 15_000))
    counted = prune.lower(state, several, jax.random.PRNGKey(0)).compile().memory_analysis()
    needed = memory.predict(agent, Buffer(config.steps, 64))
    assert counted.temp_size_in_bytes <= needed.working <= 4 * counted.temp_size_in_bytes


def test_what_cannot_fit_is_refused_before_anything_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10**6)
    config = tiny_config(seeds=50, replay_capacity=10**6, steps=10**6, prune_start=1000, out=str(tmp_path / "run"))
    with pytest.raises(UserError, match=r"50 members need about 5\.\d+ GB \(10\d MB replay, .* this machine has 1 MB"):
        xinet_jax.train(config, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("block_units", 1_000_000), ("actor_hidden", (1_000_000, 1_000_000)), ("critic_hidden", (10**6, 10**6))],
)
def test_networks_that_cannot_fit_are_refused_before_any_array_is_made(setting, value, tmp_path, monkeypatch):
    """A thousand blocks of a million units: gates alone would take gigabytes, kernels petabytes."""
    config = tiny_config(out=str(tmp_path / "run"), blocks=1000, keep_share=0.5, **{setting: value})
    monkeypatch.setattr(layout, "_constants", None)
    monkeypatch.setattr(setup, "make_program", None)
    with pytest.raises(UserError, match=r"not enough memory: 1 member needs about .* TB .* smaller networks"):
        setup.prepare(config, members.identities(config))


def test_this_machine_has_memory():
    there = memory.available(jax.local_devices()[0])
    assert there is None or there > 10**8
    assert memory.describe(memory.Memory(10**9, 2 * 10**6, 500), 3) == (
        "3 members need about 3.01 GB (1 GB replay, 2 MB agent, 500 B working space each), "
        "at checkpoints 3.01 GB more on the host"
    )


def test_what_compilers_leave_behind_is_given_back_after_each_compilation(tmp_path, monkeypatch):
    times = []
    monkeypatch.setattr(memory, "give_back", lambda: times.append(1))
    config = tiny_config(agent="sac", out=str(tmp_path / "run"), steps=30, eval_episodes=1, final_episodes=1)
    xinet_jax.train(config, progress=False)
    assert len(times) == 4, "the first state, random steps, training, evaluation"
