"""Saving and loading policies: the same actions back, and one clear line for whatever is not a policy."""

import ast
import dataclasses
import json
import math
import shutil
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax import agent as agents
from xinet_jax.cli import main
from xinet_jax.errors import UserError
from xinet_jax.policy import files, policy
from xinet_jax.policy.evaluation import evaluate
from xinet_jax.policy.structure import load_structure
from xinet_jax.tasks.engines.loading import quiet_deprecations
from xinet_jax.tasks.registry import load_task

OBSERVATION = np.random.default_rng(0).normal(size=(5, 17))


@pytest.fixture(scope="module")
def made():
    config = tiny_config()
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(0))
    about = {"name": "xinet", "seed": 3, "nu": 400.0, "settings": {"tau": 0.01}, "environment_steps": 10}
    return policy.from_agent(agent, state, task=load_task("HalfCheetah-v5", "native"), **about)


@pytest.mark.parametrize("name", ["xinet", "sac"])
def test_a_policy_takes_observations_as_they_are(name):
    """Of an agent that normalises them: the policy has the normalisation in its first layers. One block is lost."""
    config = tiny_config(agent=name, normalize_observations=True)
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(0))
    rows = (3.0 * OBSERVATION + 7.0).astype(np.float32)
    state = agents.observe(state, jnp.asarray(rows), jnp.ones(5, bool))
    if name == "xinet":
        first, second = state.alive["ofenet"]["state"]
        branches = state.alive["ofenet"] | {"state": (0 * first, second.at[:3].set(0.0))}
        state = state._replace(alive=state.alive | {"ofenet": branches})
    task = load_task("HalfCheetah-v5", "native")
    about = {"name": name, "seed": 3, "nu": None, "settings": {}, "environment_steps": 10}
    saved = policy.from_agent(agent, state, task=task, **about)
    assert saved.structure.state_blocks == ((0, 2) if name == "xinet" else ())
    np.testing.assert_allclose(saved(rows), agents.act(agent, state, jnp.asarray(rows), None), atol=1e-5)
    assert np.abs(saved(rows) - saved(rows + 1.0)).max() > 1e-2


@pytest.fixture
def folder(made, tmp_path):
    files.save_policy(made, tmp_path / "policy" / "seed_3")
    return tmp_path / "policy" / "seed_3"


def test_round_trip(made, folder):
    loaded = files.load_policy(folder)
    assert loaded.structure == made.structure
    np.testing.assert_array_equal(loaded(OBSERVATION), made(OBSERVATION))
    np.testing.assert_array_equal(loaded(OBSERVATION[0]), made(OBSERVATION)[0])
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
        files.save_policy(policy.from_agent(agent, state, task=task, **about), tmp_path / name)
        loaded = files.load_policy(tmp_path / name)
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
        {"task_options": {"reset_noise_scale": -1}},
        {"task_options": {"reset_noise_scale": float("inf")}},
        {"task_options": ["reset_noise_scale"]},
        {"action_scale": [1.0]},
        {"action_offset": ["a"] * 6},
        {"action_offset": [float("nan")] * 6},
    ],
)
def test_false_options_and_scales_are_refused(folder, change):
    test_structures_that_do_not_fit_are_refused(folder, change)


def test_a_run_folder_with_one_policy_loads_it(folder):
    assert files.load_policy(folder.parent.parent).structure.seed == 3


def test_a_run_folder_with_two_asks_which(made, folder):
    files.save_policy(made, folder.with_name("seed_10"))
    with pytest.raises(UserError, match=r"2 policies .*seed_3, seed_10"):
        files.load_policy(folder.parent.parent)


def test_policies_are_found_in_order_of_nu_and_seed(made, tmp_path):
    names = ["nu_1e-05_seed_0", "nu_0.5_seed_2", "nu_2_seed_0", "nu_10_seed_1", "nu_10_seed_10", "nu_1e+06_seed_0"]
    for name in reversed(names):
        files.save_policy(made, tmp_path / "policy" / name)
    assert [path.name for path in files.find_policies(tmp_path)] == names


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
        {"seed": -1},
        {"environment_steps": -1},
        {"nu": "high"},
        {"nu": float("inf")},
        {"nu": -1.0},
        {"settings": {"tau": float("nan")}},
        {"layers": {}},
        {"layers": "none"},
        {"layers": [[]]},
        {"layers": []},
        {"task": "Ant"},
    ],
)
def test_structures_that_do_not_fit_are_refused(folder, change):
    file = folder / "policy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    for load in (files.load_policy, load_structure):
        with pytest.raises(UserError) as caught:
            load(folder)
        assert "\n" not in str(caught.value)


def rows_of(content, network, name):
    return next(row for row in content["layers"] if (row["network"], row["name"]) == (network, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: rows_of(c, "ofenet", "state_1").update(units=-1), "state_1 of ofenet cannot have -1 of 5 units"),
        (lambda c: rows_of(c, "ofenet", "state_1").update(units=6), "state_1 of ofenet cannot have 6 of 5 units"),
        (lambda c: rows_of(c, "actor", "hidden_2").update(units=0), "hidden_2 of actor cannot have 0 of 6 units"),
        (lambda c: rows_of(c, "critic_1", "head").update(units_before=10**30), "head of critic_1 cannot have 1 of 1"),
        (lambda c: rows_of(c, "ofenet", "state_1").update(parameters=-95), "parameters and FLOPs of layers"),
        (lambda c: rows_of(c, "critic_2", "hidden_1").update(parameters=0), "parameters and FLOPs of layers"),
        (lambda c: rows_of(c, "actor", "head").update(flops_before=1), "parameters and FLOPs of layers"),
        (lambda c: rows_of(c, "critic_1", "hidden_1").update(units=3), "parameters and FLOPs of layers"),
        (lambda c: rows_of(c, "actor", "head").update(units=6), "parameters and FLOPs of layers"),
        (lambda c: rows_of(c, "ofenet", "predictor").update(units_before=18, units=18), "18 of 17 observed numbers"),
        (lambda c: c["layers"].reverse(), "not those of an agent"),
        (lambda c: c["layers"].append(c["layers"][0]), "not those of an agent"),
        (lambda c: c["layers"].pop(), "not those of an agent"),
        (lambda c: rows_of(c, "critic_2", "head").update(name="heads"), "not those of an agent"),
        (lambda c: c["layers"].remove(rows_of(c, "critic_2", "hidden_2")), "critics have 2 and 1 hidden layers"),
        (lambda c: rows_of(c, "ofenet", "state_2").update(network="actor"), "state_blocks .* do not agree"),
        (lambda c: c.update(state_blocks=[5, 6]), "state_blocks .* do not agree"),
        (lambda c: c.update(state_blocks=[5]), "state_blocks .* do not agree"),
        (lambda c: c.update(actor_hidden=[7, 5]), "actor_hidden .* do not agree"),
        (lambda c: c.update(action=5, action_scale=[1.0] * 5, action_offset=[0.0] * 5), "parameters and FLOPs"),
    ],
)
def test_layers_that_contradict_themselves_are_refused(folder, change, message):
    """By `inspect`, which reads the structure alone, as by `evaluate`."""
    file = folder / "policy.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    for load in (load_structure, files.load_policy):
        with pytest.raises(UserError, match=message) as caught:
            load(folder)
        assert "\n" not in str(caught.value)


RESULTS = Path(__file__).parents[2] / "experiments" / "claims" / "results"


@pytest.mark.parametrize(
    "name",
    [
        "HalfCheetah-v5/sac/policy/seed_2",
        "HalfCheetah-v5/paper-ofenet/policy/seed_0",
        "HalfCheetah-v5/paper-xinet/policy/seed_0",
        "Hopper-v5/prices/policy/nu_100_seed_2",
        "Hopper-v5/small-1000/policy/seed_2",
        "HalfCheetah-v5/paper-small/policy/seed_0",
        "Hopper-v5/random-1000/policy/seed_2",
        "Hopper-v5/magnitude-1000/policy/seed_2",
        "Ant-v5/xinet/policy/seed_2",
    ],
)
def test_structures_of_real_runs_load(name):
    structure = load_structure(RESULTS / name)
    left = [row for row in structure.layers if row.in_policy]
    assert sum(row.units for row in left) <= sum(row.units_before for row in left)


def test_counts_of_older_files_are_with_their_biases(folder):
    """Layers before a batch normalisation had a bias: it is counted in files of that format, and in no others."""
    file = folder / "policy.json"
    content = json.loads(file.read_text())
    content["format"] = "xinet_jax policy 1"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="parameters and FLOPs of layers"):
        load_structure(folder)
    inputs = {"state_1": 17, "state_2": 22, "action_1": 33, "action_2": 38}
    for row in content["layers"]:
        if row["name"] in inputs:
            row["parameters"] = row["parameters_before"] = 5 * (inputs[row["name"]] + 3)
            row["flops"] = row["flops_before"] = 5 * (2 * inputs[row["name"]] + 2)
    file.write_text(json.dumps(content))
    assert load_structure(folder).layers[0].parameters == 100
    file.write_text(json.dumps(content | {"format": "xinet_jax policy 2"}))
    with pytest.raises(UserError, match="parameters and FLOPs of layers"):
        load_structure(folder)


@pytest.mark.parametrize("compact", ["auto", "off"])
def test_pruned_structures_load(tmp_path, compact):
    config = tiny_config(gated=("ofenet", "actor", "critic"), compact=compact)
    agent = agents.make_agent(config, 17, 6)
    state = agents.init(agent, agents.make_hyper(config, 6), jax.random.PRNGKey(0))
    (first, second), _ = state.alive["ofenet"]["state"], None
    alive = state.alive | {"ofenet": state.alive["ofenet"] | {"state": (0 * first, second.at[:3].set(0.0))}}
    critic = (alive["critic"][0].at[0, :2].set(0.0).at[1, :5].set(0.0), alive["critic"][1])
    state = state._replace(alive=alive | {"critic": critic})
    about = {"name": "xinet", "seed": 0, "nu": 1.0, "settings": {}, "environment_steps": 10}
    files.save_policy(
        policy.from_agent(agent, state, task=load_task("HalfCheetah-v5", "native"), **about), tmp_path / "policy"
    )
    loaded = load_structure(tmp_path / "policy")
    assert loaded.state_blocks == ((5, 5) if compact == "off" else (0, 2))
    rows = {(row.network, row.name): row for row in loaded.layers}
    assert (rows["ofenet", "state_1"].units, rows["ofenet", "state_1"].parameters) == (0, 0)
    assert [rows[f"critic_{k}", "hidden_1"].units for k in (1, 2)] == [6, 3]
    files.load_policy(tmp_path / "policy")


def strictly(text):
    """Reads JSON as a parser does that knows no NaN and no Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_all_json_is_written_strictly():
    """Python writes NaN and Infinity unless it is told not to."""
    root, calls = Path(__file__).parents[2], []
    for file in (
        path for folder in ("xinet_jax", "experiments", "benchmarks") for path in (root / folder).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps"):
                strict = any(
                    keyword.arg == "allow_nan" and ast.unparse(keyword.value) == "False" for keyword in node.keywords
                )
                calls.append((file.name, node.lineno, strict))
    assert len(calls) > 10
    assert [call for call in calls if not call[2]] == []


def test_an_infinite_option_is_saved_as_json_and_comes_back(tmp_path, capsys):
    """Older files have it as Infinity, which not every parser reads."""
    config, options = tiny_config(task="Hopper-v5"), {"healthy_z_range": (1.235, math.inf)}
    task = load_task("Hopper-v5", "native", **options)
    agent = agents.make_agent(config, task.observation_size, task.action_size)
    state = agents.init(agent, agents.make_hyper(config, task.action_size), jax.random.PRNGKey(0))
    about = {"name": "xinet", "seed": 0, "nu": 1.0, "settings": {}, "environment_steps": 10}
    files.save_policy(policy.from_agent(agent, state, task=task, **about), tmp_path / "policy")
    file = tmp_path / "policy" / "policy.json"
    assert strictly(file.read_text())["task_options"] == {"healthy_z_range": [1.235, "inf"]}
    returns = []
    for text in (file.read_text(), file.read_text().replace('"inf"', "Infinity")):
        file.write_text(text)
        assert load_structure(tmp_path / "policy").task_options == options
        assert main(["inspect", str(tmp_path / "policy"), "--json"]) == 0
        seen = strictly(capsys.readouterr().out)["policies"][0]
        assert seen["task_options"] == {"healthy_z_range": [1.235, "inf"]}
        returns.append(evaluate(files.load_policy(tmp_path / "policy"), episodes=2))
    np.testing.assert_array_equal(*returns)
    plain = dataclasses.replace(load_structure(tmp_path / "policy"), task_options={})
    longer = evaluate(policy.Policy(plain, files.load_policy(tmp_path / "policy").arrays), episodes=2)
    assert (longer > returns[0]).all(), "without the option an episode ends later"


def test_missing_and_broken_files_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        files.load_policy(tmp_path / "nothing")
    with pytest.raises(UserError, match="is a file"):
        files.load_policy(folder / "policy.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no policy"):
        files.load_policy(tmp_path / "empty")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "policy.json").write_text('{"format": ')
    with pytest.raises(UserError, match="cannot read"):
        files.load_policy(broken)
    shutil.rmtree(folder / "arrays" / "d")
    with pytest.raises(UserError, match="damaged policy"):
        files.load_policy(folder)


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
    np.testing.assert_array_equal(evaluate(made, episodes=2, seed=5), expected)
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
        files.load_policy(folder)
    with pytest.raises(UserError, match="unknown task"):
        evaluate(made, episodes=1, task="evil_module:Foo-v0")
    assert not (tmp_path / "ran").exists()


def test_policies_of_the_first_format_compute_the_same_without_their_biases(made, folder, tmp_path):
    """Blocks had a bias before their normalisation; running means fall by as much when it is taken out."""
    old = tmp_path / "old"
    branch, statistics = dict(made.arrays["ofenet"]["state"]), dict(made.arrays["statistics"]["state"])
    bias = np.random.default_rng(1).normal(size=branch["input"]["kernel"].shape[-1]).astype(np.float32)
    parts = np.split(bias, np.cumsum(made.structure.state_blocks)[:-1])
    for k, part in enumerate(parts):
        norm = statistics[f"norm_{k + 1}"]
        statistics[f"norm_{k + 1}"] = norm | {"mean": np.asarray(norm["mean"]) + part}
    branch["input"] = branch["input"] | {"bias": bias}
    arrays = made.arrays | {"ofenet": {"state": branch}, "statistics": {"state": statistics}}
    files.save_policy(policy.Policy(made.structure, arrays), old)
    content = json.loads((old / "policy.json").read_text())
    for row in content["layers"]:  # as they were counted then
        if row["name"].startswith(("state_", "action_")):
            for when in ("", "_before"):
                row[f"parameters{when}"] += row[f"units{when}"]
                row[f"flops{when}"] += row[f"units{when}"]
    (old / "policy.json").write_text(json.dumps(content | {"format": "xinet_jax policy 1"}))
    loaded = files.load_policy(old)
    assert "bias" not in loaded.arrays["ofenet"]["state"]["input"]
    np.testing.assert_allclose(loaded(OBSERVATION), made(OBSERVATION), atol=1e-5)
    assert sum(row.parameters for row in loaded.structure.layers) > sum(row.parameters for row in made.structure.layers)


@pytest.mark.parametrize("name", ["e\\y", "a[1]b*?", "new\nline"])
def test_a_policy_can_be_in_a_folder_of_any_name(made, name, tmp_path):
    files.save_policy(made, tmp_path / name / "policy" / "seed_0")
    np.testing.assert_array_equal(files.load_policy(tmp_path / name)(OBSERVATION), made(OBSERVATION))
