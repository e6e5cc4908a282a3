"""The scripts of `experiments/` run, on tiny sizes."""

import csv
import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from helpers import tiny_config

from experiments import pages
from experiments.claims import claim as claims
from experiments.claims import (
    compare,
    figures,
    large,
    prices,
    pruned_vs_dense,
    published_sizes,
    results,
    same_size,
    speed,
    starts,
    statistics,
    structure,
    tables,
    trunk,
)
from experiments.claims.arms import ARMS, PRICES, RIVALS, SEEDS, TRUNKS, XINET
from experiments.claims.statistics import difference, interquartile_mean, share
from experiments.defaults import __main__ as defaults
from experiments.environments import __main__ as environments
from experiments.estimators import __main__ as estimators
from experiments.gpu import workers
from experiments.gpu.report import Report
from experiments.gpu.workers import Part, Worker
from experiments.substitutes import __main__ as substitutes
from experiments.what_predicts_recovery import after_the_cut, measures, one_cut, rankings
from experiments.what_predicts_recovery import tables as recovery_tables
from experiments.widths_and_pace import __main__ as widths_and_pace
from xinet_jax import agent as agents
from xinet_jax import cli
from xinet_jax.agent.optimiser import adam
from xinet_jax.agent.state import AgentState
from xinet_jax.command_line.parsing import train_config
from xinet_jax.config import PruningConfig, load_config, make_config, override, save_config
from xinet_jax.errors import UserError
from xinet_jax.policy import files, policy
from xinet_jax.tasks.registry import load_task
from xinet_jax.training import run as runner
from xinet_jax.training.from_widths import find_structures
from xinet_jax.training.member import Member
from xinet_jax.training.results import read_records


@pytest.mark.slow
def test_the_estimators_script_measures_what_it_says():
    sizes = {"blocks": 1, "block_units": 4, "actor_hidden": (4,), "critic_hidden": (4,), "batch_size": 16}
    lengths = {"random_steps": 30, "pretrain_updates": 5, "log_every": 10, "eval_every": 50}
    agent, hyper, state, batch = estimators.trained_agent(40, **sizes, **lengths)
    assert batch.observation.shape == (16, 17)
    rows = estimators.measure(agent, hyper, state, batch, 0.5, np.array([0, 5]), 200, jax.random.PRNGKey(0))
    assert sorted(row["estimator"] for row in rows) == ["disarm", "heun", "straight_through"]
    by_name = {row["estimator"]: row for row in rows}
    # At one half heun's weight is 1 on both sides: the straight-through estimate.
    assert by_name["heun"]["bias_rms"] == pytest.approx(by_name["straight_through"]["bias_rms"])
    assert by_name["disarm"]["standard_deviation_rms"] > by_name["heun"]["standard_deviation_rms"]
    assert PruningConfig().estimator_floor == (estimators.FLOOR,)


@pytest.mark.slow
def test_the_substitutes_script_measures_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(substitutes, "TEST", 64)
    gated = ("ofenet", "actor", "critic")
    config = tiny_config(gated=gated, engine="native", steps=30, prune_start=29, seeds=2, out=str(tmp_path / "run"))
    runner.train(config, progress=False)
    rows = substitutes.measure(tmp_path / "run")
    assert [(row["share"], row["left_behind"]) for row in rows[:2]] == [(0.05, "nothing"), (0.05, "mean")]
    assert len(rows) == len(substitutes.SHARES) * len(substitutes.WAYS)
    assert all(rows[0][name] == 0.0 for name in ("ofenet", "actor", "critic")), "a twentieth of ten units is none"
    for name in ("ofenet", "actor", "critic"):
        nothing, _, regression = (row[name] for row in rows[-3:])
        assert 0 < regression < nothing


@pytest.mark.slow
def test_the_defaults_series_runs_a_candidate(tmp_path, monkeypatch):
    tiny = "--agent ofenet --blocks 1 --block-units 4 --actor-hidden 4 --critic-hidden 4 --batch-size 16"
    tiny += (
        " --random-steps 30 --pretrain-updates 5 --log-every 10 --eval-every 20 --eval-episodes 1 --final-episodes 1"
    )
    monkeypatch.setitem(defaults.CANDIDATES, "dense", tiny)
    rows = list(defaults.run("HalfCheetah-v5", "dense", 80))
    assert [row["seed"] for row in rows] == [0, 1]
    assert set(rows[0]) == set(defaults.COLUMNS)
    assert rows[0]["all_left"] == "1.000"
    text = defaults.table([{name: str(value) for name, value in row.items()} for row in rows])
    assert "| HalfCheetah-v5 | dense |" in text


TINY = "--seeds 2 --blocks 1 --block-units 4 --actor-hidden 4 --critic-hidden 4 --batch-size 16 --steps 80"
TINY += " --random-steps 20 --pretrain-updates 0 --log-every 20 --eval-every 20 --eval-episodes 1 --final-episodes 2"
TINY += " --compact off --prune-start 25 --prune-ramp 0 --prune-stop 45 --theta-every 1 --theta-learning-rate 5e-3"
TINY += " --nu 2000"


@pytest.mark.slow
def test_a_claim_is_run_once_and_interrupted_without_loss(tmp_path):
    """Ctrl-C reaches the command alone, as from a terminal; training saves, and goes on at the next command."""
    runs, folder = tmp_path / "runs", tmp_path / "results"
    command = [sys.executable, "-m", "experiments.claims.pruned_vs_dense", "--tasks", "Hopper-v5", "--arms", "xinet"]
    command += ["--runs", str(runs), "--results", str(folder), f"--options={TINY} --checkpoint-every 1000"]
    with subprocess.Popen(command) as process:
        metrics = runs / "Hopper-v5" / "xinet" / "metrics.jsonl"
        while not (metrics.exists() and '"kind": "train"' in metrics.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 1
    assert not folder.exists()
    assert len(list((runs / "Hopper-v5" / "xinet" / "checkpoints" / "all").iterdir())) > 0
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| Hopper-v5 | xinet |" in done.stdout
    arm_folder = folder / "Hopper-v5" / "xinet"
    about = results.about(arm_folder)
    assert about["resumed"] == 1
    assert about["command"].startswith("xinet train --task Hopper-v5 --seeds 2 --steps 80 --agent xinet")
    course = results.read(arm_folder, "course")
    assert [row["environment_steps"] for row in course] == [40, 40, 60, 60, 80, 80]
    assert all(0 < row["parameters_left"] < 1 for row in results.read(arm_folder, "final"))

    before = (arm_folder / "final.csv").stat().st_mtime_ns
    subprocess.run(command, capture_output=True, check=True)
    assert (arm_folder / "final.csv").stat().st_mtime_ns == before, "it is not run again"
    refused = subprocess.run([*command[:-1], "--options=--nu 3"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "was made by `xinet train" in refused.stderr


@pytest.mark.slow
def test_a_branch_comes_to_what_a_run_from_scratch_does(tmp_path):
    gated = ("ofenet", "actor", "critic")
    common = {"gated": gated, "seeds": 2, "engine": "native", "steps": 60, "eval_every": 20, "eval_episodes": 1}
    common |= {"final_episodes": 1, "prune_start": 41, "prune_ramp": 0, "compact": "off"}
    before = common | {"steps": 40, "prune_start": 39, "final_share": 1.0, "out": str(tmp_path / "trunk")}
    runner.train(tiny_config(agent="magnitude", **before), False)
    assert trunk.is_trained(tmp_path / "trunk", 40)
    assert not trunk.is_trained(tmp_path / "trunk", 60)
    config = tiny_config(**common, nu=(400.0, 8000.0), theta_learning_rate=0.02)
    scratch, branch = tmp_path / "scratch", tmp_path / "branch"
    runner.train(override(config, {"out": str(scratch)}), False)
    config = override(config, {"branch_from": str(tmp_path / "trunk"), "out": str(branch)})
    trunk.check_same(tmp_path / "trunk", config)
    runner.train(config, False)
    assert load_config(branch / "config.yaml").pruning.nu == (400.0, 8000.0)
    rows_of_runs = []
    for run in (scratch, branch):
        records = [record for record in read_records(run) if record["kind"] != "checkpoint"]
        rows_of_runs.append({(row["kind"], row["member"], row["environment_steps"]): row for row in records})
    assert len(rows_of_runs[0]) == 28
    assert set(rows_of_runs[0]) == set(rows_of_runs[1])
    for place, one in rows_of_runs[0].items():
        other = rows_of_runs[1][place]
        assert set(one) == set(other)
        numbers = {name for name, value in one.items() if isinstance(value, float)}
        for name in numbers - {"seconds", "iterations_per_second"}:
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), (place, name)
        for name in set(one) - numbers - {"returns"}:
            assert other[name] == one[name], (place, name)
    ends = [row for row in rows_of_runs[0].values() if row["kind"] == "train" and row["environment_steps"] == 60]
    left = [row["parameters_left"] for row in ends]
    assert len(left) == 4
    assert left[0] > left[2]

    for change, words in (
        ({"prune_start": 40}, "trunk has come to step 40, and the branch prunes from 40"),
        ({"tau": 0.1, "batch_size": 8}, "trunk differs in batch_size, tau"),
        ({"gated": ("ofenet",)}, "trunk differs in gated"),
        ({"block_units": 6}, "block_units is 5 in .*trunk and cannot be changed to 6"),
    ):
        with pytest.raises(UserError, match=words):
            trunk.check_same(tmp_path / "trunk", override(config, change))


def test_the_page_shows_the_committed_results():
    page = figures.PAGE.read_text()
    assert figures.renewed(page, results.FOLDER) == page
    assert "| Hopper-v5 | xinet |" in page
    for name, text in figures.csv_files(results.FOLDER).items():
        assert (figures.PAGE.with_suffix("") / name).read_text() == text, name
    for folder in results.FOLDER.glob("*/*"):
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(FILES), folder
        if folder.name == "prices":
            members = [f"nu_{row['nu']:g}_seed_{row['seed']:g}" for row in results.read(folder, "final")]
            assert sorted(members) == sorted(path.name for path in (folder / "policy").iterdir())
        if folder.name.endswith("xinet"):  # what the arms of its widths start from
            seeds = {int(row["seed"]) for row in results.read(folder, "final")}
            assert seeds == {int(path.name.removeprefix("seed_")) for path in (folder / "policy").iterdir()}
        load_config(folder / "config.yaml")
        task, arm = folder.parent.name, folder.name
        assert results.about(folder)["command"] == claims.command_of(task, arm, results.FOLDER), (
            "the arm is another now"
        )
        if arm in ("small-1000", "small-3000"):  # which take over xinet's sizes
            final, _ = prices.by_price(results.FOLDER / task, "prices")[RIVALS[arm]]
            parameters = results.column(results.read(folder, "final"), "parameters")
            np.testing.assert_array_equal(parameters, results.column(final, "parameters"))
            assert f"--nu {RIVALS[arm]}" in results.about(folder)["command"]
        if arm in ("uniform-1000", "magnitude-1000", "random-1000"):
            final, _ = prices.by_price(results.FOLDER / task, "prices")[1000]
            parameters = results.column(results.read(folder, "final"), "parameters")
            np.testing.assert_allclose(parameters.mean(), results.column(final, "parameters").mean(), rtol=0.05)
        if arm in ("small", "uniform", "paper-small"):
            pruned = "paper-xinet" if arm.startswith("paper") else "xinet"
            finals = (results.read(results.FOLDER / task / arm_name, "final") for arm_name in (arm, pruned))
            sizes = [results.column(final, "parameters") for final in finals]
            np.testing.assert_allclose(*sizes, rtol=0.05 if arm == "uniform" else 0.0)


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Two policies that have learnt nothing, with half of OFENet's units gone."""
    folder, config = tmp_path_factory.mktemp("policies"), tiny_config(task="Hopper-v5")
    task = load_task("Hopper-v5", "native")
    agent = agents.make_agent(config, task.observation_size, task.action_size)
    about = {"task": task, "name": "xinet", "nu": 400.0, "settings": {}, "environment_steps": 1}
    state = agents.init(agent, agents.make_hyper(config, task.action_size), jax.random.PRNGKey(0))
    alive = state.alive | {"ofenet": jax.tree.map(lambda mask: mask.at[::2].set(0.0), state.alive["ofenet"])}
    for seed in (0, 1):
        made = policy.from_agent(agent, state._replace(alive=alive), seed=seed, **about)
        files.save_policy(made, folder / f"seed_{seed}")
    return folder


FILES = ("about.yaml", "config.yaml", "course.csv", "final.csv", "speed.csv")


def finished_run(runs, policies, task, arm, returns):
    """Makes what the training of two seeds leaves: files alone. Their returns are given, of two episodes each."""
    folder = runs / task / arm
    folder.mkdir(parents=True)
    save_config(make_config(task, seeds=2, out=str(folder)), folder / "config.yaml")
    starts.Starts(runs / task / f"{arm}.starts").add(claims.command_of(task, arm, runs / "none"), anew=True)
    shutil.copytree(policies, folder / "policy")
    lines = []
    for seed in (0, 1):
        for step in (9_000, 10_000, 15_000, 30_000):
            rate = 20.0 if step <= 10_000 else 50.0
            stamp = {"member": f"seed_{seed}", "seed": seed, "nu": 400.0}
            stamp |= {"environment_steps": step, "seconds": min(step, 5_000 + step / 2) / 100}
            units = {"ofenet/state_1": 10 if step == 9_000 else 7 + seed, "ofenet/predictor": 11, "actor/hidden_1": 5}
            trained = {"iterations_per_second": rate, "parameters": step, "units": units, "bad_transitions": 1}
            lines.append({"kind": "train", "diverged": seed == 1 and step == 30_000} | trained | stamp)
            lines.append({"kind": "evaluation", "return": float(step + seed)} | stamp)
        lines.append({"kind": "gymnasium", "return": returns[seed], "returns": [returns[seed]] * 2} | stamp)
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_evaluations_are_compared_from_where_arms_may_differ(tmp_path):
    spread = [0.0, 5.0, 5.0, 5.0, 100.0]  # of an interquartile mean of 5
    courses = {
        "one": {25_000: [9.0] * 5, 30_000: spread, 35_000: [1.0] * 5, 40_000: [4.0] * 5, 45_000: [9.0] * 5},
        "other": {25_000: [3.0] * 5, 30_000: [6.0] * 5, 35_000: [3.0] * 5, 40_000: [3.0] * 5},
    }
    for name, course in courses.items():
        (tmp_path / name).mkdir()
        lines = [f"{seed},{step},{value}" for step, returns in course.items() for seed, value in enumerate(returns)]
        (tmp_path / name / "course.csv").write_text("\n".join(["seed,environment_steps,return", *lines]))
    assert tables.above(tmp_path / "one", tmp_path / "other") == "1 of 3"
    assert tables.above(tmp_path / "other", tmp_path / "one") == "2 of 3"
    course = results.read(tmp_path / "one", "course")
    np.testing.assert_array_equal(results.late_returns(course), [6.5] * 5)  # of 40,000 and 45,000
    np.testing.assert_array_equal(results.late_returns(course, [45_000]), [4.0] * 5)


def test_every_price_has_a_line(tmp_path):
    priced, small = (tmp_path / "Hopper-v5" / arm for arm in ("prices", "small-3000"))
    priced.mkdir(parents=True)
    small.mkdir()
    shares = dict.fromkeys([f"{part}_left" for part in tables.PARTS], 0.25)
    lines = [(3000.0, 100.0, 900.0), (100.0, 200.0, 400.0), (3000.0, 120.0, 1100.0), (100.0, 240.0, 440.0)]
    final = [{"seed": i // 2, "nu": nu, "return": r, "parameters": p, **shares} for i, (nu, r, p) in enumerate(lines)]
    results._write(priced / "final.csv", [row | {"diverged": 0} for row in final])
    course = [row | {"environment_steps": step, "return": step + row["nu"]} for row in final for step in (7, 9, 10)]
    results._write(priced / "course.csv", course)
    final = [row | {"nu": None, "return": row["return"] + 50, "diverged": 0} for row in final[::2]]
    results._write(small / "final.csv", final)
    results._write(small / "course.csv", [row | {"environment_steps": 10, "return": 2000.0} for row in final])
    rows = [line.split(" | ")[1:10] for line in prices.table(tmp_path, ["Hopper-v5"], prices.ARMS).splitlines()[2:]]
    assert rows[0] == ["100", "xinet", "220 [200, 240]", "200, 240", "", "110 [110, 110]", "", "420", "25%"]
    assert rows[1] == ["3000", "xinet", "110 [100, 120]", "100, 120", "", "3010 [3010, 3010]", "", "1,000", "25%"]
    assert rows[2][:4] == ["3000", "small", "160 [150, 170]", "150, 170"]
    assert rows[2][4:8] == ["50 [30, 70]", "2000 [2000, 2000]", "-1010 [-1010, -1010]", "1,000"]
    assert len(rows) == 3
    dense = tmp_path / "Hopper-v5" / "ofenet"
    dense.mkdir()
    course = [(0, 80_000, 3.0), (1, 80_000, 5.0), (0, 85_000, 99.0), (1, 85_000, 99.0)]
    lines = [{"seed": seed, "environment_steps": step, "return": value} for seed, step, value in course]
    results._write(dense / "course.csv", lines)
    rows = [line.split(" | ")[1:8] for line in prices.table(tmp_path, ["Hopper-v5"], prices.ARMS).splitlines()[2:]]
    assert rows[0] == ["", "ofenet", "", "", "", "4 [3, 5]", ""]
    assert rows[1][5:] == ["110 [110, 110]", "106 [104, 106]"]
    drawn = figures.by_price(tmp_path)
    assert [text.get_text() for text in drawn.axes[0].texts] == ["ν 100", "ν 3000"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["ofenet", "xinet", "small"]


def command_line(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["claim", *map(str, arguments)])


def test_finished_runs_become_tables_and_figures(policies, tmp_path, monkeypatch, capsys):
    runs, folder = tmp_path / "runs", tmp_path / "results"
    for task in ("Hopper-v5", "HalfCheetah-v5"):
        finished_run(runs, policies, task, "xinet", [300.0, 500.0])
        finished_run(runs, policies, task, "ofenet", [800.0, float("nan") if task == "HalfCheetah-v5" else 800.0])
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("nothing is left to train"))
    monkeypatch.setattr(statistics, "DRAWS", 100)
    where = ("--runs", runs, "--results", folder)
    command_line(monkeypatch, "--tasks", "Hopper-v5", "HalfCheetah-v5", "--arms", "xinet", "ofenet", *where)
    claim = functools.partial(claims.main, "", pruned_vs_dense.ARMS, SEEDS, pruned_vs_dense.table)
    claim()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    cells = {(row[0].removeprefix("| "), row[1]): row[2:] for row in rows[2:]}
    assert cells["Hopper-v5", "xinet"][:3] == ["400 [300, 500]", "300, 500 (diverged)", "-400 [-500, -300]"]
    assert cells["Hopper-v5", "ofenet"][:3] == ["800 [800, 800]", "800, 800 (diverged)", ""]
    assert cells["HalfCheetah-v5", "ofenet"][0] == "nan"
    assert cells["Hopper-v5", "xinet"][3:5] == ["30000 [30000, 30001]", "0 [-1, 1]"]  # of steps after 24,000
    assert cells["Hopper-v5", "xinet"][5] == "0 of 1"  # evaluations after step 25,000
    assert cells["Hopper-v5", "ofenet"][5] == ""
    assert cells["all 2", "xinet"][3] == "100 [100, 100] % of ofenet"
    command_line(monkeypatch, "ofenet", "xinet", "--results", folder)
    compare.main()
    assert "| Hopper-v5 | ofenet | 800 [800, 800] | 800, 800 (diverged) | 400 [300, 500] |" in capsys.readouterr().out
    command_line(monkeypatch, "ofenet", "xinet", "--course", "--results", folder)
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| task | step | ofenet | parameters | xinet | parameters |"
    assert lines[-1] == "| Hopper-v5 | 30,000 | 30000 [30000, 30001] | 30,000 | 30000 [30000, 30001] | 30,000 |"
    command_line(monkeypatch, "ofenet", "--results", folder)
    with pytest.raises(SystemExit):
        compare.main()
    arm_folder = folder / "Hopper-v5" / "xinet"
    final, course = results.read(arm_folder, "final"), results.read(arm_folder, "course")
    assert [row["bad_transitions"] for row in final] == [4, 4]
    assert 0 < final[0]["policy_parameters"] < final[0]["parameters"]
    assert 0 < final[0]["ofenet_left"] < final[0]["parameters_left"] < 1
    assert [row["return"] for row in course[:3]] == [9_000, 10_000, 15_000]
    _, units = structure.units_over_time(arm_folder)
    np.testing.assert_array_equal(units["ofenet/state_1"][-1], [7, 8])
    assert set(units) == {"ofenet/state_1", "actor/hidden_1"}
    lines = structure.table(folder, ["Hopper-v5"], ["xinet"]).splitlines()
    assert "| *state branch* | 75% (70, 80) |" in lines
    assert "| ofenet/state_1 | 7, 8 |" in lines
    assert not any("critics" in line for line in lines)
    assert "| Hopper-v5 | xinet | 40 | 100 | 2.50 | 3 | 1.91 |" in speed.table(folder, ["Hopper-v5"], ["xinet"])
    about = results.about(arm_folder)
    assert (about["resumed"], about["command"].split()[:2]) == (0, ["xinet", "train"])
    assert not np.isnan(speed.minutes_in_all(arm_folder))
    (arm_folder / "about.yaml").write_text(yaml.safe_dump(about | {"trunk": about | {"resumed": 1}}))
    assert np.isnan(speed.minutes_in_all(arm_folder))
    assert load_config(arm_folder / "config.yaml").seeds == 2
    assert not Path(load_config(arm_folder / "config.yaml").out).is_absolute()

    # The arms that take over from it have its widths; what was made in another way is told.
    assert f"--widths-from {os.path.relpath(arm_folder)}" in claims.command_of("Hopper-v5", "small", folder)
    published = folder / "HalfCheetah-v5" / "paper-xinet"
    assert f"--widths-from {os.path.relpath(published)}" in claims.command_of("HalfCheetah-v5", "paper-small", folder)
    taken = find_structures(arm_folder, seeds=[1], nu=[])
    assert taken[0].seed == 1
    assert sum(layer.parameters for layer in taken[0].layers) == final[1]["parameters"]
    with pytest.raises(SystemExit, match=r"xinet was made by `xinet train .*`, not by `xinet train .* --nu 3`"):
        claims.complete("Hopper-v5", "xinet", runs, folder, ["--nu", "3"])
    with pytest.raises(SystemExit, match=r"xinet was made by `xinet train .*`, not by `xinet train .* --nu 3`"):
        claims.complete("Hopper-v5", "xinet", runs, tmp_path / "elsewhere", ["--nu", "3"])
    command_line(monkeypatch, "--options=--nu 3")
    with pytest.raises(SystemExit):
        claim()

    page = tmp_path / "page.md"
    page.write_text("<!-- pruned_vs_dense -->old<!-- end --> between <!-- prices -->old<!-- end -->")
    command_line(monkeypatch, "--results", folder, "--page", page)
    figures.main()
    assert "| Hopper-v5 | xinet |" in page.read_text()
    assert "nothing has been run yet" in page.read_text()
    assert " between " in page.read_text()
    assert "old" not in page.read_text()
    drawn = sorted(path.stem for path in (tmp_path / "page").glob("*.png"))
    assert drawn == ["pruned_vs_dense", "return_over_size", "same_size", "speed", "structure"]
    written = sorted(path.stem for path in (tmp_path / "page").glob("*.csv"))
    assert written == ["pruned_vs_dense", "same_size", "speed"]
    assert "Hopper-v5,xinet," in (tmp_path / "page" / "speed.csv").read_text()
    for wrong in (["--course", "--without", "30000"], ["--without", "30000"]):
        command_line(monkeypatch, "ofenet", "xinet", "--results", folder, *wrong)
        with pytest.raises(SystemExit):
            compare.main()
    command_line(monkeypatch, "--results", tmp_path / "typo", "--page", page)
    with pytest.raises(SystemExit):
        figures.main()


def test_what_was_begun_goes_on_and_what_was_refused_does_not_count(policies, tmp_path, monkeypatch):
    called, run_folder = [], tmp_path / "Ant-v5" / "sac"
    for code, begun in ((2, False), (130, False), (2, True), (130, True)):
        monkeypatch.setattr(claims, "_wait_for", lambda command, code=code: called.append(command) or code)
        with pytest.raises(SystemExit, match=f"training ended with code {code}"):
            claims.train("Ant-v5", "sac", tmp_path, tmp_path, [])
        assert called[-1][3:5] == (["train", "--resume"] if begun else ["train", "--task"])
        if code == 130 and not begun:
            run_folder.mkdir()
            save_config(make_config("Ant-v5", agent="sac"), run_folder / "config.yaml")
    assert starts.Starts(tmp_path / "Ant-v5" / "sac.starts").about()["resumed"] == 1
    with pytest.raises(SystemExit, match="was made by"):
        claims.train("Ant-v5", "sac", tmp_path, tmp_path, ["--tau", "0.1"])


def test_the_notebook_shows_the_committed_runs():
    rows = list(csv.DictReader(defaults.FILE.open()))
    notebook = {
        defaults.PAGE: (defaults.table(rows), defaults.PAGE_COLUMNS),
        widths_and_pace.PAGE: (widths_and_pace.table(), widths_and_pace.COLUMNS),
    }
    for path, (table, columns) in notebook.items():
        page = path.read_text()
        assert pages.renewed(page, "table", pages.extract(table, columns)) == page
        assert path.with_suffix(".csv").read_text() == pages.as_csv(table)
    magnitude, random = (line.strip("| ").split(" | ")[1:] for line in widths_and_pace.together().splitlines()[2:])
    assert all(part in page for part in (*magnitude, random[1]))


def test_the_page_of_environments_has_the_tables_of_its_runs():
    page = Path("docs/how-to/many-environments.md").read_text().splitlines()
    assert [line for line in environments.tables(environments.read()).splitlines() if line not in page] == []


def test_the_page_of_recovery_has_the_tables_of_its_results():
    page = Path("docs/notebook/recovery.md").read_text().splitlines()
    folder = Path("experiments/what_predicts_recovery")
    (returns,) = after_the_cut.read(folder).values()
    text = f"{recovery_tables.tables(folder)}\n{after_the_cut.table(returns)}\n{one_cut.table(one_cut.read(folder))}"
    assert [line for line in text.splitlines() if line.startswith("|") and line not in page] == []
    gaps = one_cut.differences(one_cut.read(folder))
    assert "| one cut less gradual | 54 ± 382 | 146 ± 388 |" in gaps
    assert "| one cut, xinet less one cut | -713 ± 394 | -619 ± 411 | -607 ± 413 |" in gaps
    gaps = after_the_cut.differences(returns)
    assert "| critics first | 1019 ± 646 | 23 ± 485 | 333 ± 351 | 442 ± 761 |" in gaps


def test_tables_of_a_page_are_extracts(tmp_path):
    table = "| a | b | c |\n|---|---|---|\n| 1 | *2* | |\n| 3 | 4, 5 | 6 |"
    assert pages.extract(table, ["c", "a"]) == "| c | a |\n|---|---|\n|  | 1 |\n| 6 | 3 |"
    assert pages.as_csv(table) == 'a,b,c\n1,2,\n3,"4, 5",6\n'
    assert not pages.is_wide(table)
    assert not pages.is_wide("nothing has been run yet")
    page = tmp_path / "page.md"
    page.write_text("before <!-- table -->old<!-- end --> after")
    pages.renew(page, table, ["b"])
    assert page.read_text() == "before <!-- table -->\n\n| b |\n|---|\n| *2* |\n| 4, 5 |\n\n<!-- end --> after"
    assert page.with_suffix(".csv").read_text() == pages.as_csv(table)
    with pytest.raises(ValueError, match="'d' is not in list"):
        pages.extract(table, ["d"])


@pytest.mark.parametrize("name", ARMS)
def test_the_arms_are_what_xinet_train_accepts(name, tmp_path, monkeypatch):
    configs = []

    def train(config):
        configs.append(config)
        raise UserError("that is enough")

    monkeypatch.setattr(runner, "train", train)
    options = ARMS[name].options.format(share=0.11, price=ARMS[name].price, **dict.fromkeys(ARMS, tmp_path)).split()
    assert cli.main(["train", "--task", "Hopper-v5", "--steps", str(ARMS[name].steps), *options]) == 2
    assert configs[0].steps == ARMS[name].steps
    nu = set(PRICES) if name == "prices" else {float(RIVALS[name]) if "--nu" in options else 400.0}
    assert set(configs[0].pruning.nu) == nu
    assert configs[0].pruning.keep_share == (0.4 if name.endswith("xinet") else 0.0)
    if name.startswith(("magnitude", "random")):  # as long as theta prunes, and to the same share
        assert f"--prune-start {configs[0].pruning.prune_start} " in XINET
        assert f"--prune-stop {configs[0].pruning.prune_start + configs[0].pruning.prune_ramp}" in XINET
        assert configs[0].pruning.final_share == (0.11 if name in RIVALS else 0.4)


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if arm.trunk])
def test_a_branch_has_the_settings_of_a_run_from_scratch(name, tmp_path):
    task = ["--task", "Hopper-v5", "--seeds", "5"]
    start = TRUNKS[ARMS[name].trunk]
    save_config(train_config([*task, "--steps", str(start.steps), *start.options.split()]), tmp_path / "config.yaml")
    options = ARMS[name].options.format(share=0.11, price=ARMS[name].price).split()
    words = [*task, "--steps", str(ARMS[name].steps), *options]
    branch = train_config([*words, "--from", str(tmp_path)])
    assert dataclasses.replace(branch, branch_from=None) == train_config(words)


def test_every_arm_belongs_to_a_claim():
    assert set(prices.TASKS) | set(same_size.TASKS) <= set(SEEDS)
    assert {*pruned_vs_dense.ARMS, *same_size.ARMS, *published_sizes.ARMS, *prices.ARMS, *large.ARMS} == set(ARMS)
    assert set(RIVALS.values()) < set(PRICES)


def test_interquartile_means_and_their_intervals():
    estimate = interquartile_mean(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert estimate.value == pytest.approx(3.0)
    assert (estimate.low, estimate.high) == (pytest.approx(4 / 3), pytest.approx(68))
    # Rliable 1.2.0 (pandas 2, 10,000 draws, seed 0) says 94.31 [87.45, 110.86] of these ten scores.
    scores = np.random.default_rng(3).normal(100, 20, 18)[8:].reshape(5, 2)
    estimate = interquartile_mean(*scores.T)
    assert estimate == pytest.approx((94.31, 87.45, 110.86), abs=0.6)
    gap = difference(np.array([5.0, 6, 7, 8, 9]), np.array([1.0, 2, 3, 4, 5]))
    assert gap.value == pytest.approx(4.0)
    assert 1 < gap.low < 4 < gap.high < 7
    ours, theirs = [np.full(3, 2.0), np.full(3, 6.0)], [np.full(3, 4.0), np.full(3, 4.0)]
    assert share(ours, theirs) == (100.0, 100.0, 100.0)
    known, drawn = (share([np.array([8.0, 9, 10])], [rival]) for rival in (np.full(3, 9.0), np.array([3.0, 9, 15])))
    assert known.value == drawn.value == pytest.approx(100.0)
    assert drawn.low < known.low < known.high < drawn.high
    assert np.isnan(interquartile_mean(np.array([1.0])).low)
    assert str(estimate) == "94 [88, 111]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("check", ["in two", "update", "products", "compaction", "physics native", "company native", "resume native"]),
        ("speed", ["updates ours 64 float32 1", "physics native 1", "train paper float32 alone 1"]),
    ],
)
def test_what_is_ready_for_a_gpu_runs_on_a_cpu(kind, parts, tmp_path):
    options = ["--only", kind, "--seconds", "900", "--prepare-seconds", "800", "--most", "1", "--parts", *parts]
    command = [sys.executable, "-m", "experiments.gpu", "--out", str(tmp_path), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=1000)
    lines = {line["name"]: line for line in map(json.loads, (tmp_path / f"{kind}.jsonl").read_text().splitlines())}
    assert lines["machine"]["devices"] == ["cpu"]
    assert {name: line for name, line in lines.items() if "error" in line or "left_out" in line} == {}
    assert lines.keys() == {"machine", *parts}
    if kind == "check":
        assert lines["compaction"]["actions"] < 1e-5
        assert lines["resume native"]["resume"]["arrays_that_differ"] == 0
        assert lines["update"]["params"] == 0, "the device is the CPU"


@pytest.mark.slow
def test_what_agents_learn_on_a_gpu_can_be_asked_on_a_cpu(tmp_path):
    sizes = "--blocks 2 --block-units 5 --actor-hidden 8 8 --critic-hidden 8 8 --batch-size 16 --random-steps 300"
    sizes += " --pretrain-updates 10 --eval-every 500 --log-every 250 --eval-episodes 1 --final-episodes 1 --devices 1"
    options = ["--preset", "quick", "--seeds", "1", "--steps", "1300", "--options", sizes, "--out", str(tmp_path)]
    command = [sys.executable, "-m", "experiments.gpu.learn", "--seconds", "800", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    lines = {line["name"]: line for line in map(json.loads, (tmp_path / "learn.jsonl").read_text().splitlines())}
    assert lines.keys() == {"machine", "dense", "xinet", "magnitude", "small"}
    runs = [lines[name] for name in ("dense", "xinet", "magnitude", "small")]
    assert all((run["status"], run["environment_steps"], len(run["returns"])) == (0, 1300, 1) for run in runs)
    dense, xinet, magnitude, small = (run["parameters"][0] for run in runs)
    assert small == xinet < 0.45 * dense
    assert magnitude < 0.45 * dense


class FakeReport(Report):
    """A report that keeps its lines."""

    def __init__(self, seconds):
        self._begun, self._seconds, self.lines = time.monotonic(), seconds, {}

    def write(self, name, result):
        self.lines[name] = result


def measured(what):
    return lambda: {"what": what}


def fails():
    raise ValueError("no such kernel")


def test_parts_are_measured_in_turn_and_none_holds_up_another():
    parts = [Part("first", functools.partial(measured, 1)), Part("broken", fails), Part("at once", dict)]
    report = FakeReport(60)
    slow, other = Part("slow", functools.partial(time.sleep, 100)), Part("other", functools.partial(measured, 2))
    workers.run([Worker(parts), Worker([slow]), Worker([other])], report, prepare_seconds=15)
    assert report.lines["first"]["what"] == 1
    assert report.lines["other"]["what"] == 2
    assert "no such kernel" in report.lines["broken"]["error"]
    assert "seconds_to_prepare" in report.lines["at once"]
    assert "left_out" in report.lines["slow"]
    assert report.left() > 20, "it ends when all is done"


def test_a_unit_that_others_predict_has_little_of_its_own(key):
    independent = jax.random.normal(key, (4000, 3))
    outputs = jnp.concatenate([independent, independent[:, :1] * 2.0 + 1.0], axis=1)
    share = rankings.unsaid_share(outputs, jnp.ones(4), ridge=0.001)
    assert (share[jnp.array([0, 3])] < 0.01).all()
    assert (share[1:3] > 0.9).all()
    alone = rankings.unsaid_share(outputs, jnp.array([1.0, 1.0, 1.0, 0.0]), ridge=0.001)
    assert alone[0] > 0.9


def test_effective_rank_and_dormant_units(key):
    random = jax.random.normal(key, (5000, 4))
    assert measures.effective_rank(random) == pytest.approx(4.0, rel=1e-2)
    assert measures.effective_rank(random[:, :1] * jnp.arange(1.0, 5.0)) == pytest.approx(1.0, rel=1e-2)
    silent = jnp.abs(random) * jnp.array([1.0, 1.0, 1e-3, 1.0])
    assert measures.dormant([silent, jnp.abs(random)]) == 1 / 8


def test_harm_is_half_the_squared_change_and_the_divergence_of_the_policy():
    before = {"prediction": jnp.zeros((2, 3)), "value": jnp.zeros((2, 2)), "mean": jnp.zeros((2, 1))}
    before |= {"std": jnp.ones((2, 1))}
    after = {"prediction": jnp.ones((2, 3)), "value": 2.0 * jnp.ones((2, 2)), "mean": jnp.ones((2, 1))}
    harm = measures.harm(before, after | {"std": 2.0 * jnp.ones((2, 1))})
    assert harm["harm_ofenet"] == 1.5  # three numbers, each moved by a standard deviation
    assert harm["harm_critic"] == 4.0
    assert harm["harm_actor"] == pytest.approx(np.log(2.0) + (1 + 1) / (2 * 4) - 0.5)


def test_tables_of_what_predicts_recovery(tmp_path):
    """A measure that orders rankings as the later return does has a correlation of one with it."""
    with (tmp_path / "returns.csv").open("w") as file:
        file.write("task,share,ranking,seed,updates,return,episodes_return\n")
        for rank, name in enumerate(("random", "fisher", "magnitude")):
            for seed in range(3):
                for updates in (0, 100, 200):
                    file.write(f"A,0.1,{name},{seed},{updates},{100 * rank + seed + updates},\n")
    with (tmp_path / "measures.csv").open("w") as file:
        file.write("task,share,ranking,seed,updates,measure,value\n")
        for rank, name in enumerate(("random", "fisher", "magnitude")):
            for seed in range(3):
                file.write(f"A,0.1,{name},{seed},0,loss,{-rank}\nA,0.1,{name},{seed},0,harm_critic,{3 + rank}\n")
    text = recovery_tables.tables(tmp_path)
    assert "| magnitude | 5.0 | nan | nan | 201 | 351 [350, 352] |" in text
    assert "| harm_critic | 1.00 ± 0.00 |" in text
    assert "| loss | -1.00 ± 0.00 |" in text
    recovery_tables.draw(tmp_path, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_after_a_cut(tmp_path):
    """Moments are forgotten; an actor that is held stays as it is while the rest learns; returns become a table."""

    def learn(_, member, first_step, rounds, first_update):
        assert (first_step, rounds) == (15_000 + first_update, 1)
        return jax.tree.map(lambda leaf: leaf + 1, member), None

    params = {name: jnp.zeros((2, 3)) for name in ("actor", "critic")}
    fresh = {name: jax.vmap(adam.init)(each) for name, each in params.items()}
    old = jax.tree.map(lambda leaf: leaf + 7, fresh)
    member = Member(AgentState(params, (), (), old, (), (), (), (), jnp.zeros(2)), (), (), jnp.zeros(2))
    jax.tree.map(np.testing.assert_array_equal, after_the_cut.without_moments(member).agent.optimiser, fresh)
    setup = SimpleNamespace(program=SimpleNamespace(train=learn), hyper=())
    after = after_the_cut.learn_critics(after_the_cut.Cut(setup, member, {}, jax.random.key(0)), member, 2, 5).agent
    np.testing.assert_array_equal(after.params["actor"], 0.0)
    np.testing.assert_array_equal(after.params["critic"], 3.0)
    jax.tree.map(np.testing.assert_array_equal, after.optimiser["actor"], old["actor"])
    assert int(after.optimiser["critic"].count[0]) == int(old["critic"].count[0]) + 3
    lines = [
        f"A,0.1,{care},{updates},{seed},{seed + updates}" for care in "xy" for updates in (0, 9, 100) for seed in (1, 3)
    ]
    (tmp_path / "after_the_cut.csv").write_text("\n".join(["task,share,care,updates,seed,return", *lines]))
    assert "| x | 2 ± 13 | 102 ± 13 |" in after_the_cut.table(after_the_cut.read(tmp_path)["A", "0.1"])


def test_ways_to_prune_are_accepted_and_become_a_table(tmp_path):
    for way, options in one_cut.WAYS.items():
        train_config([*one_cut.COMMON.split(), *options.split()])
        with (tmp_path / "metrics.jsonl").open("w") as file:
            for seed in (1, 3):
                record = {"member": f"seed_{seed}", "seed": seed, "return": seed}
                for kind, step in (("evaluation", 20_000), ("train", 20_000), ("gymnasium", 40_000)):
                    file.write(json.dumps(record | {"kind": kind, "environment_steps": step}) + "\n")
        one_cut.store(way, tmp_path, tmp_path)
    text = one_cut.table(one_cut.read(tmp_path))
    assert "| one cut |  | 2 ± 13 |  |  |  |" in text
    assert len((tmp_path / "one_cut.csv").read_text().splitlines()) == 1 + 4 * len(one_cut.WAYS)
