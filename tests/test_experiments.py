"""The scripts of `experiments/` run, on tiny sizes."""

import functools
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import yaml

from experiments.claims import claim as claims
from experiments.claims import figures, prices, pruned_vs_dense, published_sizes, results, same_size, structure
from experiments.claims.arms import ARMS, PRICES, SEEDS
from experiments.claims.statistics import difference, interquartile_mean
from experiments.defaults import __main__ as defaults
from experiments.estimators import __main__ as estimators
from xinet_jax import cli
from xinet_jax.config import PruningConfig
from xinet_jax.errors import UserError
from xinet_jax.training import runner


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
def test_a_claim_is_run_once_and_its_tables_and_figures_come_from_files(tmp_path, monkeypatch, capsys):
    runs, folder = tmp_path / "runs", tmp_path / "results"
    line = ["claim", "--tasks", "Hopper-v5", "--arms", "xinet", "--runs", str(runs), "--results", str(folder)]
    monkeypatch.setattr(sys, "argv", [*line, f"--options={TINY}"])
    claim = functools.partial(claims.main, "", pruned_vs_dense.ARMS, ("Hopper-v5",), pruned_vs_dense.table)
    claim()
    assert "| Hopper-v5 | xinet |" in capsys.readouterr().out
    own = folder / "Hopper-v5" / "xinet"
    assert sorted(path.name for path in own.iterdir()) == ["about.yaml", "config.yaml", "course.csv", "final.csv"]
    about = yaml.safe_load((own / "about.yaml").read_text())
    assert about["command"].startswith("xinet train --task Hopper-v5 --seeds 5 --steps 100000 --agent xinet")
    assert about["resumed"] == 0
    final, course = results.read(own, "final"), results.read(own, "course")
    assert [row["seed"] for row in final] == [0, 1]
    assert all(row["return"] == pytest.approx((row["return_1"] + row["return_2"]) / 2, rel=1e-4) for row in final)
    assert all(0 < row["parameters_left"] < 1 for row in final)
    assert [row["environment_steps"] for row in course] == [40, 40, 60, 60, 80, 80]
    assert structure.final_units(own)["actor/hidden_1"].shape == (2,)

    # What is there is not run again; what was finished but not written is written; the others take over from it.
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it trained again"))
    claim()
    monkeypatch.undo()
    shutil.rmtree(own)
    claims.run("Hopper-v5", "xinet", runs, folder)
    assert results.read(own, "course") == course
    left = sum(row["parameters_left"] for row in final) / 2
    assert f"{left:.4f}" == claims.arguments_of("Hopper-v5", "magnitude", runs, folder)[-1]
    assert str(runs / "Hopper-v5" / "xinet") in claims.arguments_of("Hopper-v5", "small", runs, folder)
    with pytest.raises(SystemExit, match="run it first"):
        claims.run("Ant-v5", "small", runs, folder)

    page = tmp_path / "page.md"
    page.write_text("<!-- pruned_vs_dense -->old<!-- end --> between <!-- prices -->old<!-- end -->")
    monkeypatch.setattr(sys, "argv", ["figures", "--results", str(folder), "--page", str(page)])
    figures.main()
    assert "| Hopper-v5 | xinet |" in page.read_text()
    assert "nothing has been run yet" in page.read_text()
    assert " between " in page.read_text()
    assert "old" not in page.read_text()
    drawn = sorted(path.stem for path in (tmp_path / "page").iterdir())
    assert drawn == ["pruned_vs_dense", "return_over_size", "same_size", "speed", "structure"]


@pytest.mark.parametrize("name", ARMS)
def test_the_arms_are_what_xinet_train_accepts(name, tmp_path, monkeypatch):
    found = []

    def train(config):
        found.append(config)
        raise UserError("that is enough")

    monkeypatch.setattr(runner, "train", train)
    options = ARMS[name].options.format(xinet=tmp_path, left=0.3).split()
    assert cli.main(["train", "--task", "Hopper-v5", "--steps", str(ARMS[name].steps), *options]) == 2
    assert found[0].steps == ARMS[name].steps
    assert set(found[0].pruning.nu) == (set(PRICES) if name == "prices" else {400.0})


def test_every_arm_belongs_to_a_claim():
    assert set(prices.TASKS) | set(same_size.TASKS) <= set(SEEDS)
    assert {*pruned_vs_dense.ARMS, *same_size.ARMS, *published_sizes.ARMS, "prices"} == set(ARMS)


def test_interquartile_means_and_their_intervals():
    estimate = interquartile_mean(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert estimate.value == pytest.approx(3.0)
    assert (estimate.low, estimate.high) == (pytest.approx(1.33, abs=0.4), pytest.approx(68, abs=34))
    # Rliable 1.2.0 (pandas 2, 10,000 draws, seed 0) says 94.31 [87.45, 110.86] of these ten scores.
    tasks = np.random.default_rng(3)
    tasks.normal(100, 20, 5), tasks.normal(100, 20, 3)
    estimate = interquartile_mean(*tasks.normal(100, 20, (5, 2)).T)
    assert estimate == pytest.approx((94.31, 87.45, 110.86), abs=0.6)
    gap = difference(np.array([5.0, 6, 7, 8, 9]), np.array([1.0, 2, 3, 4, 5]))
    assert gap.value == pytest.approx(4.0)
    assert 1 < gap.low < 4 < gap.high < 7
    assert np.isnan(interquartile_mean(np.array([1.0])).low)
    assert str(estimate) == "94 [88, 111]"
