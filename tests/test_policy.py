"""Saving and loading policies: the same actions back, and one clear line for whatever is not a policy."""

import dataclasses
import json
import shutil

import gymnasium
import jax
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax import policy
from xinet_jax.errors import UserError
from xinet_jax.evaluation import evaluate
from xinet_jax.tasks.loading import quiet_deprecations
from xinet_jax.tasks.registry import load_task

OBSERVATION = np.random.default_rng(0).normal(size=(5, 17))


@pytest.fixture(scope="module")
def made():
    config = tiny_config()
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(0))
    about = {"name": "xinet", "seed": 3, "nu": 400.0, "settings": {"tau": 0.01}, "environment_steps": 10}
    return policy.from_agent(agent, state, task=load_task("HalfCheetah-v5", "native"), **about)


@pytest.fixture
def folder(made, tmp_path):
    policy.save_policy(made, tmp_path / "policy" / "seed_3")
    return tmp_path / "policy" / "seed_3"


def test_round_trip(made, folder):
    loaded = policy.load_policy(folder)
    assert loaded.structure == made.structure
    np.testing.assert_array_equal(loaded(OBSERVATION), made(OBSERVATION))
    np.testing.assert_allclose(loaded(OBSERVATION[0]), made(OBSERVATION)[0], atol=1e-6)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(loaded.arrays))


def test_actions_are_scaled_to_what_the_task_takes(tmp_path):
    """Humanoid's actuators take ±0.4, InvertedPendulum's ±3. Options of the task come along."""
    for name, limit, options in (
        ("Humanoid-v5", 0.4, {"include_cfrc_ext_in_observation": False}),
        ("InvertedPendulum-v5", 3.0, {"reset_noise_scale": 0.19}),
    ):
        task = load_task(name, "native", **options)
        config = tiny_config(task=name, agent="sac")
        agent = agents.make_agent(config, task.observation_size, task.action_size)
        state = agents.init(agent, agents.make_hyper(config, task.action_size), jax.random.PRNGKey(0))
        about = {"name": "sac", "seed": 0, "nu": None, "settings": {}, "environment_steps": 1}
        policy.save_policy(policy.from_agent(agent, state, task=task, **about), tmp_path / name)
        loaded = policy.load_policy(tmp_path / name)
        assert loaded.structure.task_options == options
        observation = 3 * np.random.default_rng(0).normal(size=(50, task.observation_size)).astype(np.float32)
        expected = limit * np.asarray(agents.act(agent, state, jax.numpy.asarray(observation), None))
        np.testing.assert_allclose(loaded(observation), expected, rtol=1e-5, atol=1e-6)
        assert np.abs(expected).max() > 0.2 * limit
    few, many = (evaluate(loaded, episodes=50, seed=seed).mean() for seed in (0, 100))
    plain = dataclasses.replace(loaded.structure, task_options={})
    assert max(few, many) < evaluate(policy.Policy(plain, loaded.arrays), episodes=50).mean(), "it starts near falling"


@pytest.mark.parametrize(
    "change",
    [
        {"task_options": {"xml_file": "/tmp/evil.xml"}},
        {"task_options": {"reset_noise_scale": "much"}},
        {"action_scale": [1.0]},
        {"action_offset": ["a"] * 6},
        {"action_offset": [float("nan")] * 6},
    ],
)
def test_false_options_and_scales_are_refused(folder, change):
    test_structures_that_do_not_fit_are_refused(folder, change)


def test_a_run_folder_with_one_policy_loads_it(folder):
    assert policy.load_policy(folder.parent.parent).structure.seed == 3


def test_a_run_folder_with_two_asks_which(made, folder):
    policy.save_policy(made, folder.with_name("seed_10"))
    with pytest.raises(UserError, match=r"2 policies .*seed_3, seed_10"):
        policy.load_policy(folder.parent.parent)


def test_policies_are_found_in_order_of_nu_and_seed(made, tmp_path):
    names = ["nu_1e-05_seed_0", "nu_0.5_seed_2", "nu_2_seed_0", "nu_10_seed_1", "nu_10_seed_10", "nu_1e+06_seed_0"]
    for name in reversed(names):
        policy.save_policy(made, tmp_path / "policy" / name)
    assert [found.name for found in policy.find_policies(tmp_path)] == names


def test_wrong_observation_size_is_refused(made):
    with pytest.raises(ValueError, match=r"\[..., 17\]"):
        made(np.zeros(16))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pickle"},
        {"observation": -1},
        {"observation": 18},
        {"state_blocks": [5, 4]},
        {"state_blocks": "many"},
        {"actor_hidden": [1 << 40, 6]},
        {"actor_hidden": [7.0, 6]},
        {"layers": [{"network": "actor"}]},
        {"seed": None},
        {"nu": "high"},
        {"task": "Ant"},
    ],
)
def test_structures_that_do_not_fit_are_refused(folder, change):
    file = folder / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError) as caught:
        policy.load_policy(folder)
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        policy.load_policy(tmp_path / "nothing")
    with pytest.raises(UserError, match="is a file"):
        policy.load_policy(folder / "policy.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no policy"):
        policy.load_policy(tmp_path / "empty")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "policy.json").write_text('{"format": ')
    with pytest.raises(UserError, match="cannot read"):
        policy.load_policy(broken)
    shutil.rmtree(folder / "arrays" / "d")
    with pytest.raises(UserError, match="damaged policy"):
        policy.load_policy(folder)


def test_evaluation_is_what_gymnasium_gives(made):
    with quiet_deprecations():
        environment = gymnasium.make("HalfCheetah-v5")
    expected = []
    for seed in (5, 6):
        observation, _ = environment.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = environment.step(made(observation))
            total, ended = total + reward, terminated or truncated
        expected.append(total)
    np.testing.assert_allclose(evaluate(made, episodes=2, seed=5), expected, rtol=1e-2, atol=1e-2)
    assert abs(expected[0] - expected[1]) > 0.03, "the two episodes must differ for their order to mean anything"


def test_evaluation_refuses_what_does_not_fit(made):
    with pytest.raises(UserError, match="Hopper-v5 has observations"):
        evaluate(made, episodes=1, task="Hopper-v5")
    with pytest.raises(UserError, match="unknown task"):
        evaluate(made, episodes=1, task="NoSuchTask-v5")
    with pytest.raises(UserError, match="at least 1"):
        evaluate(made, episodes=0)


def test_a_task_name_cannot_import_a_module(made, folder, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    file = folder / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"task": "evil_module:Foo-v0"}))
    with pytest.raises(UserError, match="unknown task"):
        policy.load_policy(folder)
    with pytest.raises(UserError, match="unknown task"):
        evaluate(made, episodes=1, task="evil_module:Foo-v0")
    assert not (tmp_path / "ran").exists()
