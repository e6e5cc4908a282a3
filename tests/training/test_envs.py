"""Runs with several environments per member, and in environments of Gymnasium's registry."""

import dataclasses
import json
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import SMALLEST, tiny_config
from tasks import environments

import xinet_jax
from xinet_jax.cli import main
from xinet_jax.config import load_config
from xinet_jax.errors import UserError
from xinet_jax.training import checkpoints, run
from xinet_jax.training.savings import Ledger

RULES = {"gated": ("ofenet", "actor", "critic"), "prune_start": 61, "prune_ramp": 0, "prune_stop": 120}
RULES |= {"theta_learning_rate": 2e-2, "nu": 2000.0, "keep_share": 0.4, "width_multiple": 1}
RULES |= {
    "eval_episodes": 1,
    "final_episodes": 1,
    "checkpoint_every": 39,
    "eval_every": 80,
    "log_every": 40,
    **SMALLEST,
}


def records(folder, kind=None):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]


def resumed(folder, **changes):
    config = dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder), **changes)
    return xinet_jax.train(config, progress=False)


def arrays(folder, step):
    return checkpoints.read_header(folder / "checkpoints" / "all" / str(step))["arrays"]


@pytest.mark.slow
def test_a_run_prunes_settles_shrinks_and_is_resumed_to_the_last_bit(tmp_path, monkeypatch):
    """With four environments, two updates for each step of them, and normalised observations; from before gates settle
    and arrays shrink."""
    monkeypatch.setattr(Ledger, "is_due", lambda ledger, saving, steps_left, last=False: saving > 0 and steps_left > 0)
    whole, copy = tmp_path / "whole", tmp_path / "copy"
    settings = {
        "envs": 4,
        "update_ratio": "1/2",
        "normalize_observations": True,
        "steps": 158,
        "random_steps": 42,
        "checkpoint_keep": 9,
    }
    result = xinet_jax.train(tiny_config(task="Hopper-v5", out=str(whole), **RULES | settings), progress=False)
    # Whole rounds of four steps.
    assert (result.config.steps, result.config.random_steps, result.config.checkpoint_every) == (160, 44, 40)
    assert (result.config.pruning.theta_every, result.environment_steps) == (2, 160)
    assert [row["environment_steps"] for row in records(whole, "checkpoint")] == [80, 120, 160]
    assert {row["environment_steps"] for row in records(whole, "train")} == {80, 120, 160}
    assert records(whole, "compaction")
    assert all(
        member.structure.parameters < sum(layer.parameters_before for layer in member.structure.layers)
        for member in result.seeds
    )
    assert sum(row.get("episodes", 0) for row in records(whole)) > 2, "some end within forty rounds"
    header = checkpoints.read_header(whole / "checkpoints" / "all" / "80")
    assert header["arrays"]["replay.action"]["shape"] == [1, 4, 20, 3]
    assert header["arrays"]["agent.observations.mean"]["shape"] == [1, 11]

    shutil.copytree(whole, copy)
    for later in (120, 160):
        shutil.rmtree(copy / "checkpoints" / "all" / str(later))
    resumed(copy)
    assert arrays(copy, 160) == arrays(whole, 160)


NAME = "gymnasium/XinetCounter-v0"
SAC = {"agent": "sac", "actor_hidden": (7,), "critic_hidden": (8,)}


def test_an_environment_of_the_registry_is_trained_resumed_evaluated_and_filmed(tmp_path, capsys):
    folder = tmp_path / "run"
    config = tiny_config(task=NAME, out=str(folder), envs=2, seeds=2, task_options=("length=4", "nan_at=25"), **SAC)
    config = dataclasses.replace(config, checkpoint_every=30, eval_every=30, eval_episodes=3, final_episodes=2)
    result = xinet_jax.train(config, progress=False)
    assert result.config.engine == "gymnasium"
    # Evaluation begins the same episodes anew: the first of each environment, of four steps.
    for row in records(folder, "evaluation"):
        assert len(row["returns"]) == 3
        assert all(-4 <= episode_return <= 12 for episode_return in row["returns"])
    assert sum(row["episodes"] for row in records(folder) if row.get("seed") == 0 and "episodes" in row) > 5
    bad = [sum(row.get("bad_transitions", 0) for row in records(folder) if row.get("seed") == seed) for seed in (0, 1)]
    assert bad == [2, 2], "one of each environment"
    policy = xinet_jax.load_policy(folder / "policy" / "seed_0")
    observation = np.ones((1, 5), np.float32)
    assert ((policy(observation) >= [-1.0, 0.0]) & (policy(observation) <= [3.0, 0.5])).all()

    capsys.readouterr()
    assert main(["train", "--resume", str(folder), "--steps", "80"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"environments of {NAME} cannot be restored: new episodes begin" in said
    assert main(["evaluate", str(folder), "--episodes", "3", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)["policies"]
    assert [len(of_policy["returns"]) for of_policy in evaluated] == [3, 3]
    film = tmp_path / "film.gif"
    assert main(["render", str(folder / "policy" / "seed_0"), "--out", str(film)]) == 0
    assert film.stat().st_size > 100
    capsys.readouterr()
    for options, words in (
        (["--out", "film.html"], "no MuJoCo model"),
        (["--width", "100"], "pictures of its own size"),
    ):
        assert main(["render", str(folder / "policy" / "seed_0"), *options]) == 2
        assert words in capsys.readouterr().err


def test_an_exception_in_an_environment_ends_the_run_with_what_was_learnt(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    config = tiny_config(task=NAME, out=str(folder), task_options=("raises_at=45",), log_every=10, **SAC)
    with pytest.raises(
        UserError, match="failed by step 50: ValueError: the arm fell off; its traceback is in"
    ) as error:
        xinet_jax.train(config, progress=False)
    assert "\n" not in str(error.value)
    trace = (folder / "environment_error.txt").read_text()
    assert "rolled away" in trace
    assert "environments.py" in trace
    assert [path.name for path in checkpoints.candidates(folder / "checkpoints" / "all")] == ["50"]
    assert records(folder)[-2]["bad_transitions"] > 0
    monkeypatch.setattr(environments.Counter, "raises_at", property(lambda self: None, lambda self, value: None), False)
    result = resumed(folder)
    assert result.environment_steps == 60


def test_an_exception_where_a_policy_is_evaluated_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    config = tiny_config(task=NAME, out=str(folder), steps=30, **SAC)
    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate_policies", Mock(side_effect=UserError("it fell")))
        with pytest.raises(UserError, match="it fell; policies are saved in"):
            xinet_jax.train(config, progress=False)
    step = environments.Counter.step

    def fall(self, action):
        if self.count == 3:
            raise ValueError("the arm fell off")
        return step(self, action)

    monkeypatch.setattr(environments.Counter, "step", fall)
    assert main(["evaluate", str(folder)]) == 2
    assert capsys.readouterr().err.endswith(f"{NAME} cannot run: ValueError: the arm fell off\n")


def test_an_environment_that_cannot_be_made_is_told_before_anything_is_written(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "--task", "gymnasium/CartPole-v1", "--out", str(folder)]) == 2
    assert "actions must be continuous" in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.slow
def test_pendulum_is_solved(tmp_path):
    settings = {"steps": 10_000, "random_steps": 1_000, "eval_every": 5_000, "checkpoint_every": 10_000}
    config = xinet_jax.make_config(
        "gymnasium/Pendulum-v1", agent="sac", out=str(tmp_path / "run"), learning_rate=1e-3, **settings
    )
    result = xinet_jax.train(config, progress=False)
    assert np.mean(result.seeds[0].returns) > -200


@pytest.mark.slow
def test_bipedal_walker_runs(tmp_path):
    config = tiny_config(task="gymnasium/BipedalWalker-v3", out=str(tmp_path / "run"), envs=2, **SAC)
    config = dataclasses.replace(config, eval_episodes=1, final_episodes=1)
    result = xinet_jax.train(config, progress=False)
    assert np.isfinite(result.seeds[0].returns).all()
