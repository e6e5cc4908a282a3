"""End to end, on tiny budgets with real MuJoCo."""

import dataclasses
import errno
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALLEST, drawn, tiny_config
from rich.console import Console

import xinet_jax
import xinet_jax.agent
from xinet_jax.cli import main
from xinet_jax.config import load_config
from xinet_jax.errors import UserError
from xinet_jax.networks.complexity import left
from xinet_jax.policy.files import find_policies
from xinet_jax.policy.tables import returns_table
from xinet_jax.report.record import read_run
from xinet_jax.tasks.options import parse_options
from xinet_jax.tasks.registry import load_task
from xinet_jax.telemetry import loggers
from xinet_jax.telemetry.progress import ProgressDisplay, Status, _Stderr, describe, short
from xinet_jax.training import checkpoints, from_widths, members, phases, run_folder, setup
from xinet_jax.training.loop import Loop
from xinet_jax.training.reporter import Reporter
from xinet_jax.training.results import read_members, trade_off
from xinet_jax.training.savings import Ledger
from xinet_jax.training.signals import Abandoned, StopOnSignal


def records(folder, kind=None):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    # A price so high that theta falls from one to the last units within the run.
    overrides = {"nu": 20_000.0, "prune_ramp": 0, "theta_learning_rate": 5e-3, "eval_every": 30, "eval_episodes": 2}
    config = tiny_config(seeds=2, out=str(folder), final_episodes=2, log=("tensorboard",), **overrides)
    return xinet_jax.train(config, progress=False)


def test_a_run_leaves_configuration_metrics_and_policies(result):
    written = ["checkpoints", "config.yaml", "lock", "metrics.jsonl", "policy", "report.html", "starts.jsonl"]
    written += ["tensorboard"]
    assert sorted(path.name for path in result.folder.iterdir()) == written
    saved = xinet_jax.load_config(result.folder / "config.yaml")
    assert saved == dataclasses.replace(result.config, out=None, devices=None)
    assert result.config.engine == "native"
    assert result.environment_steps == 60
    assert result.interrupted is None
    assert [seed.seed for seed in result.seeds] == [0, 1]
    assert all(np.isfinite(row["iterations_per_second"]) for row in records(result.folder, "train"))


def test_a_run_leaves_a_report_and_what_it_ran_with(result):
    run = read_run(result.folder)
    assert (run.state, run.steps) == ("finished", 60)
    for member, other in zip(result.seeds, run.members, strict=True):
        assert other.layers == member.structure.layers
        assert other.final_return == pytest.approx(member.returns.mean())
        np.testing.assert_allclose(other.flops_left.values[-1], left(member.structure.layers, "flops"))
        assert other.policy_parameters[1] == member.structure.parameters
        assert list(zip(*other.curves["return"], strict=True)) == list(member.curve)
    (start,) = run.starts
    assert start["packages"]["jax"] == jax.__version__
    assert start["environment_steps"] == 0
    text = (result.folder / "report.html").read_text()
    assert "<strong>finished</strong>" in text
    assert f"<td>{start['packages']['jax']}</td>" in text


def test_a_report_that_cannot_be_written_is_told_of_once(tmp_path):
    lines = []
    reporter = Reporter(tmp_path, True, lines.append)
    reporter.renew()
    reporter.finish()
    assert lines == [f"no report is written: {tmp_path} is no run folder: it has no config.yaml"]
    Reporter(tmp_path, False, lines.append).finish()
    assert len(lines) == 1


def test_metrics_cover_every_phase_and_seed(result):
    for kind, stops in (("collect", [20]), ("pretrain", [20]), ("train", [30, 40, 60]), ("evaluation", [30, 60])):
        rows = records(result.folder, kind)
        assert [(row["environment_steps"], row["seed"]) for row in rows] == [(s, m) for s in stops for m in (0, 1)]
    last = records(result.folder, "train")[-1]
    assert {"auxiliary_loss", "critic_loss", "actor_loss", "temperature", "entropy", "parameters_left"} <= set(last)
    assert all(np.isfinite(last[name]) for name in ("auxiliary_loss", "critic_loss", "actor_loss"))
    assert last["theta_held"] == 0


def test_curves_are_the_metrics_and_can_be_made_of_them_afterwards(result, tmp_path, capsys):
    """Of a run that logs to TensorBoard, and of the same without."""
    curves = drawn(result.folder)
    assert list(curves) == ["seed_0", "seed_1"]
    for member, tags in curves.items():
        rows = [row for row in records(result.folder) if row.get("member") == member]
        for kind, entry, tag in (
            ("train", "critic_loss", "train/critic_loss"),
            ("evaluation", "return", "eval/return"),
            ("gymnasium", "return", "final/return"),
        ):
            of_kind = [(row["environment_steps"], pytest.approx(row[entry])) for row in rows if row["kind"] == kind]
            assert tags[tag] == of_kind, tag
        units = [(row["environment_steps"], row["units"]["actor/hidden_1"]) for row in rows if row["kind"] == "train"]
        assert tags["pruning/units/actor/hidden_1"][1:] == units, "behind that of the random steps"
    folder = tmp_path / "run"
    shutil.copytree(result.folder, folder)
    shutil.rmtree(folder / "tensorboard")
    assert main(["log", str(folder), "--to", "tensorboard"]) == 0
    assert f"Curves: {folder}" in capsys.readouterr().out.replace("\n", "")
    assert drawn(folder) == curves
    with run_folder.lock(folder):
        assert main(["log", str(folder), "--to", "tensorboard"]) == 2
    assert "is in use" in capsys.readouterr().err
    shutil.rmtree(folder / "tensorboard")
    (folder / "tensorboard").write_text("in the way")
    assert main(["log", str(folder), "--to", "tensorboard"]) == 2
    assert capsys.readouterr().err.startswith("xinet: cannot log to tensorboard: [Errno ")


@pytest.mark.parametrize("library", [None, "pandas", "polars"])
def test_a_result_is_read_from_its_folder_and_gives_a_data_frame(result, library):
    pytest.importorskip(library or "pandas")
    read = xinet_jax.load_result(result.folder)
    assert (read.folder, read.environment_steps, read.interrupted) == (result.folder, 60, None)
    for ours, theirs in zip(read.seeds, result.seeds, strict=True):
        assert ours._replace(returns=None) == theirs._replace(returns=None)
        np.testing.assert_array_equal(ours.returns, theirs.returns)
    frame, rows = read.metrics(library), records(result.folder)
    assert type(frame).__module__.split(".")[0] == (library or "pandas")
    assert list(frame.columns)[:4] == ["kind", "member", "seed", "nu"]
    for column in ("kind", "member", "environment_steps", "critic_loss", "return"):
        ours = [None if value != value else value for value in frame[column].to_list()]  # NaN stands for nothing
        assert ours == [row.get(column) for row in rows], column
    units = [row["units"]["actor/hidden_1"] for row in rows if "units" in row]
    assert [value for value in frame["units/actor/hidden_1"].to_list() if value is not None and value == value] == units


def test_data_frames_need_a_library(result, monkeypatch):
    with pytest.raises(UserError, match="unknown library 'panda': did you mean 'pandas'"):
        result.metrics("panda")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs pandas or polars: pip install 'xinet_jax\[pandas\]'"):
        result.metrics()
    with pytest.raises(UserError, match="library polars is not installed: pip install polars"):
        result.metrics("polars")


def test_results_of_no_run_are_told_in_one_line(result, tmp_path):
    with pytest.raises(UserError, match="cannot read configuration"):
        xinet_jax.load_result(tmp_path)
    shutil.copytree(result.folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"kind": "evaluation"}\n')
    with pytest.raises(UserError, match=r"cannot read the metrics of .*: KeyError: 'environment_steps'"):
        xinet_jax.load_result(tmp_path / "run")


def test_policies_are_smaller_and_say_what_they_are(result):
    for seed in result.seeds:
        loaded = xinet_jax.load_policy(seed.folder)
        assert loaded.structure == seed.structure
        assert loaded.structure.task == "HalfCheetah-v5"
        assert loaded.structure.environment_steps == 60
        before = sum(layer.parameters_before for layer in seed.structure.layers)
        assert sum(layer.parameters for layer in seed.structure.layers) < before
        stored = records(result.folder, "train")[-2 + seed.seed]
        assert stored["parameters"] == sum(layer.parameters for layer in seed.structure.layers)
        assert "actor/hidden_1" in stored["units"]
        assert list(stored["units"].values()) == [layer.units for layer in seed.structure.layers]


def test_returns_are_gymnasiums(result):
    for seed in result.seeds:
        policy = xinet_jax.load_policy(seed.folder)
        np.testing.assert_allclose(seed.returns, xinet_jax.evaluate(policy, 2), rtol=1e-5)
        assert [step for step, _ in seed.curve] == [30, 60]


@pytest.mark.slow
def test_compaction_in_training_changes_speed_and_nothing_else(tmp_path, monkeypatch):
    """The same run twice: in whole arrays, and with every chance to compact taken."""
    settings = {"nu": 3_000.0, "prune_ramp": 0, "theta_learning_rate": 5e-3, "log_every": 10}
    settings |= {"gated": ("ofenet", "critic"), "nu_scale_critic": 1.0, "eval_episodes": 1, "final_episodes": 1}
    settings |= {"prune_stop": 48, **SMALLEST}
    made = []
    always = lambda ledger, saving_per_step, steps_left, last: saving_per_step > 0 and steps_left > 0  # noqa: E731
    for compact in ("end", "auto"):
        monkeypatch.setattr(Ledger, "is_due", always)
        folder = tmp_path / compact
        narrow = {"width_multiple": 2} if compact == "auto" else {}
        config = tiny_config(out=str(folder), seeds=2, compact=compact, **narrow, **settings)
        made.append(xinet_jax.train(config, progress=False))
    compactions = records(tmp_path / "auto", "compaction")
    assert not records(tmp_path / "end", "compaction")
    assert compactions
    assert all(row["compaction_seconds"] > 0 and row["iterations_per_second_before"] > 0 for row in compactions)
    left = [row["flops_of_arrays_left"] for row in compactions]
    assert sorted(left, reverse=True) == left
    assert left[-1] < 1
    for whole, small in zip(*(run.seeds for run in made), strict=True):
        assert small.structure == whole.structure
        assert sum(row.parameters for row in small.structure.layers) < sum(
            row.parameters_before for row in small.structure.layers
        )
        observations = np.random.default_rng(0).normal(size=(50, 17))
        actions = [xinet_jax.load_policy(member.folder)(observations) for member in (whole, small)]
        np.testing.assert_allclose(*actions, atol=2e-2)  # forty steps of physics amplify rounding


@pytest.mark.slow
def test_the_whole_method_from_open_gates_to_settled_ones(tmp_path):
    """Every network gated, theta moved now and then, settled before the end: what the defaults do at full size."""
    rules = {"gated": ("ofenet", "actor", "critic"), "theta_every": 3, "theta_learning_rate": 5e-3, "nu": 1_000.0}
    rules |= {"prune_start_critic": 30, "prune_stop": 48, "log_every": 8, "random_steps": 16, "prune_start": 24}
    settings = rules | {"steps": 64, "prune_ramp": 0, "eval_episodes": 1, "final_episodes": 1}
    config = tiny_config(seeds=2, out=str(tmp_path / "run"), **settings)
    assert config.pruning.weights_see == "open"
    result = xinet_jax.train(config, progress=False)
    for seed in result.seeds:
        rows = [row for row in records(result.folder, "train") if row["seed"] == seed.seed]
        left = {row["environment_steps"]: row["parameters"] for row in rows}
        assert left[24] == sum(row.parameters_before for row in seed.structure.layers)
        assert left[48] >= left[56] == left[64], "nothing falls once the gates have settled"
        assert left[64] == sum(row.parameters for row in seed.structure.layers) < left[24]
        assert {row.network for row in seed.structure.layers if row.units < row.units_before} >= {"ofenet", "actor"}
        assert rows[-1]["parameters_left"] == pytest.approx(left[64] / left[24]), "theta is 0 or 1 by now"


@pytest.mark.slow
def test_several_values_of_nu_end_in_a_trade_off_curve(tmp_path):
    settings = {"prune_ramp": 0, "theta_learning_rate": 5e-3, "eval_episodes": 1, "final_episodes": 1, **SMALLEST}
    folder = tmp_path / "run"
    config = tiny_config(nu=(0.0, 20_000.0), seeds=2, out=str(folder), **settings)
    result = xinet_jax.train(config, progress=False)
    assert [(member.nu, member.seed) for member in result.seeds] == [(0.0, 0), (0.0, 1), (20_000.0, 0), (20_000.0, 1)]
    assert [path.name for path in find_policies(folder)] == [member.folder.name for member in result.seeds]
    assert [member.structure.nu for member in result.seeds] == [0.0, 0.0, 20_000.0, 20_000.0]
    points = trade_off(result)
    assert [point.parameters_left for point in points[:2]] == [1.0, 1.0]
    assert max(point.parameters_left for point in points[2:]) < 0.9
    rows = (folder / "trade_off.csv").read_text().splitlines()
    assert rows[0] == "nu,seed,parameters_left,return"
    assert len(rows) == 5
    assert (folder / "trade_off.png").read_bytes().startswith(b"\x89PNG")
    assert {row["nu"] for row in records(folder, "train")} == {0.0, 20_000.0}
    # The widths of either price can be trained from scratch, seed by seed (tests/training/test_from_widths.py).
    small = {"agent": "small", "widths_from": str(folder), "steps": 30, "eval_episodes": 1, "final_episodes": 1}
    with pytest.raises(UserError, match=r"several values of nu: choose one by nu \(0 20000\)"):
        xinet_jax.train(tiny_config(out=str(tmp_path / "small"), **small), progress=False)
    chosen = from_widths.find_structures(folder, seeds=(1, 0), nu=(20_000.0,))
    assert chosen == [result.seeds[3].structure, result.seeds[2].structure]
    folder = run_folder.choose_run_folder(tiny_config(out=str(folder), overwrite=True))
    run_folder.make_run_folder(folder, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.slow
def test_every_combination_of_hyper_parameters_is_a_member(tmp_path, capsys):
    folder, several = tmp_path / "run", {"learning_rate": (1e-3, 3e-4), "target_entropy": (-6.0, -3.0)}
    command = f"train --agent ofenet --seeds 2 --out {folder} --blocks 2 --block-units 5 --actor-hidden 7 6"
    command += " --critic-hidden 8 7 --batch-size 16 --steps 60 --random-steps 20 --pretrain-updates 5 --log-every 20"
    command += " --eval-episodes 1 --final-episodes 1 --learning-rate 1e-3 3e-4 --target-entropy -6 -3"
    assert main(command.split()) == 0
    combinations = itertools.product(*several.values())
    names = [f"learning_rate_{rate:g}_target_entropy_{entropy:g}" for rate, entropy in combinations]
    assert {path.name for path in (folder / "policy").iterdir()} == {f"{n}_seed_{s}" for n in names for s in (0, 1)}
    assert "learning_rate" in capsys.readouterr().out, "the table says which is which"
    assert (folder / "trade_off.csv").read_text().startswith("learning_rate,target_entropy,seed,parameters_left,return")
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 0
    assert "target_entropy" in capsys.readouterr().out
    # A member is what its own values and its seed would have made it alone.
    settings = {"agent": "ofenet", "eval_episodes": 1, "final_episodes": 1, "steps": 60}
    alone = tiny_config(**settings, learning_rate=3e-4, target_entropy=-6, out=str(tmp_path / "alone"))
    xinet_jax.train(alone, progress=False)
    last = records(tmp_path / "alone", "train")[-1]
    same = next(row for row in records(folder, "train")[::-1] if row["member"] == f"{names[2]}_seed_0")
    faster = next(row for row in records(folder, "train")[::-1] if row["member"] == f"{names[0]}_seed_0")
    assert (same["learning_rate"], same["target_entropy"]) == (3e-4, -6.0)
    for name in ("auxiliary_loss", "critic_loss", "temperature", "entropy"):
        assert same[name] == pytest.approx(last[name], rel=5e-2, abs=5e-3), name
    assert same["temperature"] == pytest.approx(last["temperature"], rel=1e-3)
    assert faster["temperature"] != pytest.approx(last["temperature"], rel=1e-2)


@pytest.mark.slow
def test_a_run_in_bfloat16_learns_something_else_and_saves_float32(result, tmp_path):
    overrides = {"nu": 20_000.0, "prune_ramp": 0, "theta_learning_rate": 5e-3, "eval_every": 30, "eval_episodes": 2}
    folder = tmp_path / "run"
    config = tiny_config(seeds=2, out=str(folder), final_episodes=1, precision="bfloat16", **overrides)
    rounded = xinet_jax.train(config, progress=False)
    ours, theirs = records(folder, "train")[-1], records(result.folder, "train")[-1]
    assert np.isfinite(ours["critic_loss"])
    assert ours["critic_loss"] != theirs["critic_loss"]
    assert xinet_jax.load_policy(rounded.seeds[0].folder)(np.zeros(17)).dtype == np.float32


@pytest.mark.slow
def test_gates_are_not_rounded_where_prune_stop_is_never_reached(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(xinet_jax.agent, "settle", None)  # any call fails
    short = {"prune_stop": 41, "steps": 40, "eval_episodes": 1, "final_episodes": 1}
    config = tiny_config(out=str(tmp_path / "run"), **short, **SMALLEST)
    result = xinet_jax.train(config)
    assert result.seeds[0].structure.layers[0].units == 5
    assert "prune_stop 41 is after the last step: gates stay where theta leaves them" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_saved_configuration_runs_again_and_destroys_nothing(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = xinet_jax.load_config(result.folder / "config.yaml")
    assert (config.out, config.overwrite) == (None, False)
    assert run_folder.choose_run_folder(config) == Path("runs/HalfCheetah-v5-xinet-quick")


def test_an_existing_folder_is_refused(result):
    with pytest.raises(UserError, match="exists: choose another with --out, or give --overwrite"):
        xinet_jax.train(tiny_config(out=str(result.folder)), progress=False)


@pytest.mark.parametrize("files", [["thesis.tex"], ["config.yaml"], ["config.yaml", "metrics.jsonl", "thesis.tex"]])
def test_overwriting_touches_nothing_but_runs(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("title: years of work")
    with pytest.raises(UserError, match=r"not a run folder|unknown field 'title'"):
        xinet_jax.train(tiny_config(out=str(tmp_path), overwrite=True), progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_overwriting_a_run_removes_what_it_wrote(result, tmp_path):
    shutil.copytree(result.folder, tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    folder = run_folder.choose_run_folder(tiny_config(out=str(tmp_path / "link"), overwrite=True))
    run_folder.make_run_folder(folder, overwrite=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]


@pytest.mark.parametrize("name", ["x" * 300, "file/run", "nul\0"])
def test_folders_that_cannot_be_made_are_told_in_one_line(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        xinet_jax.train(tiny_config(out=str(tmp_path / name)), progress=False)
    assert "cannot write to run folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unnamed_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(3):
        names.append(run_folder.claim_run_folder(tiny_config()).name)
    name = "HalfCheetah-v5-xinet-quick"
    assert names == [name, f"{name}-2", f"{name}-3"]


def test_of_runs_started_at_the_same_time_only_one_gets_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_folder.claim_run_folder(tiny_config(out="run"))
    with pytest.raises(FileExistsError):
        run_folder.make_run_folder(Path("run"), overwrite=False)


OF_DIVERGED = {"agent": "sac", "eval_every": 30, "eval_episodes": 1, "final_episodes": 1, "log_every": 10}


@pytest.mark.slow
def test_a_diverged_member_is_marked_and_disturbs_no_other(tmp_path, capsys):
    policies = []
    for name, rates in (("healthy", (3e-4, 1e-4)), ("ill", (3e-4, 1e10))):
        config = tiny_config(out=str(tmp_path / name), learning_rate=rates, **OF_DIVERGED)
        result = xinet_jax.train(config)
        policies.append(xinet_jax.load_policy(result.seeds[0].folder))
        assert [member.diverged for member in result.seeds] == [None, 30 if name == "ill" else None]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("diverged before step 30: it stays as it was before, and learns nothing more") == 1
    observation = np.random.default_rng(0).normal(size=(20, 17))
    np.testing.assert_array_equal(policies[0](observation), policies[1](observation))
    assert np.isfinite(xinet_jax.load_policy(result.seeds[1].folder)(observation)).all()
    rows = records(tmp_path / "ill", "train")
    assert [row["diverged"] for row in rows] == [False, True] * (len(rows) // 2)
    assert "diverged by step 30" in _returns_shown(tmp_path / "ill", config)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Ant-v5", ("main_body=torso", "healthy_z_range=0.3,0.9")),
        ("Humanoid-v5", ("include_cinert_in_observation=false", "contact_cost_range=0,5")),
    ],
)
@pytest.mark.slow
def test_a_task_with_other_limits_and_options_is_trained_and_evaluated(name, options, tmp_path):
    smallest = {"agent": "ofenet", "steps": 30, "eval_episodes": 1, "final_episodes": 1, **SMALLEST}
    config = tiny_config(task=name, task_options=options, out=str(tmp_path / name), **smallest)
    result = xinet_jax.train(config, progress=False)
    structure = result.seeds[0].structure
    assert structure.task_options == parse_options(options)
    task = load_task(name, "native", **structure.task_options)
    assert structure.observation == task.observation_size
    predictor = next(layer for layer in structure.layers if layer.name == "predictor")
    assert predictor.units == task.predicted_size < task.observation_size
    assert load_config(result.folder / "config.yaml").task_options == options
    with pytest.raises(UserError, match="unknown option of Ant-v5 'gravity'"):
        tiny_config(task="Ant-v5", task_options=("gravity=0",))


@pytest.mark.slow
def test_a_task_of_ones_own_is_trained_by_the_same_command(tmp_path, capsys):
    """The example in the documentation, as a user runs it."""
    run = lambda *arguments: subprocess.run(  # noqa: E731
        [sys.executable, "-m", "xinet_jax.cli", *arguments], capture_output=True, text=True, check=False
    )
    example, folder = ("--import", "examples/spinner.py"), str(tmp_path / "run")
    options = (
        "--agent sac --actor-hidden 8 --critic-hidden 8 --batch-size 16 --random-steps 50 --steps 100 --eval-every 100"
    )
    done = run("train", *example, "--task", "Spinner-v0", *options.split(), "--eval-episodes", "1", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "running them in Spinner-v0" in done.stderr
    done = run("evaluate", *example, folder, "--json", "--episodes", "2")
    assert len(json.loads(done.stdout)["policies"][0]["returns"]) == 2, done.stderr
    done = run("tasks", *example, "Spinner-v0")
    assert "control_cost_weight=0.01" in done.stdout
    for arguments, words in (
        (["evaluate", folder], "unknown task 'Spinner-v0'"),
        (["tasks", "--import", "nothing.py"], "there is no file nothing.py"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_a_task_that_gives_nothing_finite_ends_the_run(tmp_path, monkeypatch):
    load = setup.load_task

    def broken(*names):
        task = load(*names)
        spoilt = task.definition._replace(observe=lambda physics: jnp.full(17, jnp.nan))
        return task._replace(definition=spoilt)

    monkeypatch.setattr(setup, "load_task", broken)
    with pytest.raises(UserError, match="gave no transition that is finite in 20 random steps"):
        xinet_jax.train(tiny_config(out=str(tmp_path / "run")), progress=False)


def test_policies_that_cannot_be_saved_are_saved_by_resuming(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        config = tiny_config(out=str(folder), final_episodes=1, agent="sac", checkpoint_every=40)
        with pytest.raises(UserError) as caught:
            xinet_jax.train(config, progress=False)
    assert "No space left on device; when that is mended: xinet train --resume" in str(caught.value)
    # The newest checkpoint is damaged as well: the run goes on from the one before.
    kept = folder / "checkpoints" / "all"
    (kept / "60" / "about" / "metadata").write_text("{")
    config = dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder))
    result = xinet_jax.train(config)
    said = "".join(capsys.readouterr().err.split())
    assert f"damagedcheckpoint{kept / '60'}" in said
    assert "goingonfromstep40" in said
    assert result.seeds[0].returns is not None


@pytest.mark.slow
def test_a_run_ends_when_every_member_has_diverged(tmp_path, capsys):
    folder = tmp_path / "a [b] c"
    config = tiny_config(out=str(folder), learning_rate=1e10, **OF_DIVERGED)
    result = xinet_jax.train(config)
    assert "nothing is left to train at step 30: every member has diverged" in " ".join(capsys.readouterr().err.split())
    assert result.environment_steps == 30
    assert np.isfinite(result.seeds[0].returns).all()
    xinet_jax.train(dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder)))
    assert "nothing is left to train at step 30" in " ".join(capsys.readouterr().err.split())


def _returns_shown(folder, config):
    results = read_members(folder, members.identities(config))
    rows = [(member.structure, member.curve[-1][1], member.returns, member.trouble) for member in results]
    with (console := Console(width=200)).capture() as shown:
        console.print(returns_table(rows))
    return shown.get()


def test_progress_fits_a_terminal_of_80_columns():
    for diverged in (0, 12):
        status = Status("training", 123_400, 1_000_000, -14903.0, 1.0, 165.0, 25_800.0, diverged)
        text = f"{status.phase} ━━━━━━ {short(status.done)}/{short(status.total)} {describe(status)}"
        assert "123.4k/1M" in text
        assert ("12 diverged" in text) == bool(diverged)
        assert len(text) <= 80, text


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # rich's own thread ends
def test_a_display_that_cannot_be_written_to_disturbs_nothing(terminal):
    reading, writing = os.pipe()
    os.close(reading)
    status = Status("training", 1, 2, None, 1.0, None, None)
    pipe = os.fdopen(writing, "w", buffering=1)
    with ProgressDisplay(console=_Stderr(file=pipe, force_terminal=terminal)) as display:
        display.note("a closed pipe")
        display.show(status)

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    with ProgressDisplay(console=_Stderr(file=Full(), force_terminal=terminal)) as display:
        display.note("a full disk")
        display.show(status)


def test_segments_cover_every_step_once():
    config = tiny_config(steps=95, random_steps=25, log_every=20, eval_every=30)
    segments = list(phases.segments(config))
    for phase, first, last in (("collect", 0, 25), ("pretrain", 0, 5), ("train", 25, 95)):
        of_phase = [segment for segment in segments if segment.phase == phase]
        assert of_phase[0].first == first
        assert of_phase[-1].last == last
        assert all(a.last == b.first for a, b in itertools.pairwise(of_phase))
    assert [s.last for s in segments if s.evaluate] == [30, 60, 90, 95]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_saves_what_was_learnt_and_says_so(number, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "xinet_jax.cli", "train", "--out", str(folder), "--steps", "1000000"]
    command += [
        "--random-steps",
        "30",
        "--pretrain-updates",
        "5",
        "--blocks",
        "1",
        "--block-units",
        "4",
        "--actor-hidden",
        "8",
    ]
    command += ["--critic-hidden", "8", "--batch-size", "16", "--log-every", "10", "--eval-every", "1000000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 240
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and '"train"' in metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(process.pid, number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    said = " ".join(errors.split())
    assert number.name in said
    assert "what was learnt so far is saved" in said
    assert "Traceback" not in errors
    assert "not taken" in output
    policy = xinet_jax.load_policy(folder)
    assert policy(np.zeros(17)).shape == (6,)
    assert 30 < policy.structure.environment_steps < 1_000_000


def test_a_second_signal_abandons_and_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal(tmp_path / "stopping") as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested == signal.SIGTERM
        with pytest.raises(Abandoned, match="SIGINT") as caught:
            signal.raise_signal(signal.SIGINT)
        assert caught.value.number == signal.SIGINT
    assert signal.getsignal(signal.SIGTERM) is before


class _Answers:
    """What a script wrote to standard error, read while it runs."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def until(self, words):
        text = ""
        while words not in text:
            line = self.process.stderr.readline()
            assert line, f"ended without '{words}': {text}"
            text += line
        return text


# A call that holds the main thread as a compiler does, and that signals do not cut short: Python's handlers have to
# wait until it returns. With this switch interval the other thread cannot run, and print, before the call has begun.
_COMPILES = """
import ctypes, pathlib, signal, sys, threading
from xinet_jax.training.signals import StopOnSignal

def report():
    begun.acquire()
    print("compiling", file=sys.stderr, flush=True)

begun, sleep = threading.Lock(), ctypes.CDLL(None).sleep
begun.acquire()
threading.Thread(target=report, daemon=True).start()
with StopOnSignal(pathlib.Path(sys.argv[1])) as stop:
    stop.compiling = True
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # of this thread; another one hears them
    sys.setswitchinterval(1000)
    begun.release()
    sleep(int(sys.argv[2]))
    sys.setswitchinterval(0.005)
    stop.compiling = False
    print("requested", stop.requested.name, file=sys.stderr, flush=True)
"""


def test_a_signal_while_compiling_is_answered_at_once_and_a_second_one_ends_the_process(tmp_path):
    script = _Answers(_COMPILES, str(tmp_path / "stopping"), "600")
    script.until("compiling")
    script.process.send_signal(signal.SIGINT)
    assert "SIGINT: compiling; will stop when that is done; once more to stop now" in script.until("save nothing")
    script.process.send_signal(signal.SIGTERM)
    assert "xinet: abandoned on SIGTERM: nothing more was saved" in script.until("saved")
    assert script.process.wait(timeout=30) == 128 + signal.SIGTERM


def test_a_single_signal_while_compiling_waits_for_the_compiler(tmp_path):
    script = _Answers(_COMPILES, str(tmp_path / "stopping"), "3")
    script.until("compiling")
    script.process.send_signal(signal.SIGINT)
    script.until("requested SIGINT")
    assert script.process.wait(timeout=30) == 0


def test_a_run_interrupted_before_its_first_step_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    """The signal comes while the first program is compiled: no transition is there yet, and none is missed."""
    folder = tmp_path / "run"
    begin = Loop.begin

    def interrupted(loop):
        signal.raise_signal(signal.SIGINT)
        return begin(loop)

    def away(*_):
        raise ConnectionError("nobody answers")

    settings = {"agent": "sac", "eval_episodes": 1, "final_episodes": 1, "log": ("tensorboard",)}
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "begin", interrupted)
        patch.setattr(loggers, "open_sink", away)
        result = xinet_jax.train(tiny_config(out=str(folder), **settings))
    assert result.interrupted == "SIGINT"
    assert result.environment_steps == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"SIGINT at step 0: what was learnt so far is saved in {folder}; to go on: xinet train --resume" in said
    assert said.count("tensorboard has failed: nobody answers; nothing is lost") == 1
    resumed = xinet_jax.train(dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder)))
    assert "going on from step 0" in " ".join(capsys.readouterr().err.split())
    assert resumed.environment_steps == 60
    assert [step for step, _ in drawn(folder)["seed_0"]["train/critic_loss"]] == [40, 60]


@pytest.mark.parametrize(
    "agent", ["sac", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xinet", "ofenet"))]
)
def test_everything_is_computed_in_float32_whatever_jax_is_set_to(agent, tmp_path):
    config = tiny_config(agent=agent, out=str(tmp_path / "run"), steps=30, eval_episodes=1, final_episodes=1)
    with jax.enable_x64(True):
        result = xinet_jax.train(config, progress=False)
        loaded = xinet_jax.load_policy(result.folder)
        assert loaded(np.zeros(17)).dtype == np.float32
        np.testing.assert_array_equal(xinet_jax.evaluate(loaded, 1), result.seeds[0].returns)
        assert jnp.zeros(1).dtype == np.float64, "outside, JAX stays as it was set"
    header = checkpoints.read_header(result.folder / "checkpoints" / "all" / "30")
    assert {array["dtype"] for array in header["arrays"].values()} == {"float32", "int32", "uint32", "bool"}
