"""The scripts of `experiments/` run, on tiny sizes."""

import jax
import numpy as np
import pytest

from experiments.defaults import __main__ as defaults
from experiments.estimators import __main__ as estimators
from xinet_jax.config import PruningConfig


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
