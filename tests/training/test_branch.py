"""Runs that start from a checkpoint of another."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from helpers import SMALLEST, tiny_config

import xinet_jax
from xinet_jax import agent as agents
from xinet_jax.cli import main
from xinet_jax.command_line.parsing import train_config
from xinet_jax.config import load_config, make_config, override, save_config
from xinet_jax.errors import UserError
from xinet_jax.training import checkpoints
from xinet_jax.training.branch import trunk_rows, with_gates_of
from xinet_jax.training.branch_config import branch_config, check_branch
from xinet_jax.training.members import identities
from xinet_jax.training.pace import Pace
from xinet_jax.training.setup import Setup

GATED = ("ofenet", "actor", "critic")
COMMON = {
    "task": "Hopper-v5",
    "seeds": 2,
    "eval_every": 20,
    "eval_episodes": 1,
    "final_episodes": 1,
    "checkpoint_every": 20,
    **SMALLEST,
}
RULES = {"gated": GATED, "prune_start": 21, "prune_ramp": 0, "prune_stop": 50, "nu": 3000.0, "compact": "end"}
TIMES = ("seconds", "iterations_per_second")


def rows(folder, without=()):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in without} for row in records]


def kept(folder):
    return folder / "checkpoints" / "all"


def resumed(folder, **changes):
    config = dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder), **changes)
    return xinet_jax.train(config, progress=False)


@pytest.fixture(autouse=True, scope="module")
def chunks():
    """Chunks of the same length whatever the clock says: metrics are sums of their sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "chunk", lambda pace, most: min(most, 5))
        yield


@pytest.fixture(scope="module", params=["ofenet", pytest.param("xinet", marks=pytest.mark.slow)])
def whole(request, tmp_path_factory):
    """A run of 60 steps: of agents without gates, or of some that prune from the first update, and settle at step
    50."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    rules = {"agent": request.param} | (RULES if request.param == "xinet" else {})
    xinet_jax.train(tiny_config(out=str(folder), checkpoint_keep=9, **COMMON, **rules), progress=False)
    return folder


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A run of an agent without gates, to its end at step 40."""
    folder = tmp_path_factory.mktemp("runs") / "dense"
    xinet_jax.train(tiny_config(agent="ofenet", steps=40, out=str(folder), **COMMON), progress=False)
    return folder


def until(folder, copy, step):
    """Returns a copy of a run without what it has saved after a step."""
    shutil.copytree(folder, copy)
    for path in kept(copy).iterdir():
        if path.name.isdecimal() and int(path.name) > step:
            shutil.rmtree(path)
    return copy


def test_a_branch_with_unchanged_settings_is_the_uninterrupted_run_to_the_last_bit(whole, tmp_path, capsys):
    trunk = until(whole, tmp_path / "trunk", 40)
    before = {path: path.stat().st_mtime_ns for path in trunk.rglob("*")}
    result = xinet_jax.train(branch_config(trunk, out=str(tmp_path / "branch")))
    assert f"goingonfromstep40of{trunk}" in "".join(capsys.readouterr().err.split())
    assert {path: path.stat().st_mtime_ns for path in trunk.rglob("*")} == before, "the other run is only read"

    def final(folder):
        return checkpoints.read_header(kept(folder) / "60")["arrays"]

    assert final(result.folder) == final(whole)
    assert rows(result.folder, TIMES) == rows(whole, TIMES)
    saved = load_config(result.folder / "config.yaml")
    assert saved.branch_from == str(trunk)
    assert dataclasses.replace(saved, branch_from=None) == load_config(whole / "config.yaml")
    assert sorted(path.name for path in kept(result.folder).iterdir()) == ["40", "60"]

    # It goes on like any other run: from its own checkpoints, whether the other run is there or not.
    shutil.rmtree(trunk)
    shutil.rmtree(kept(result.folder) / "60")
    resumed(result.folder)
    assert final(result.folder) == final(whole)
    assert rows(result.folder, TIMES) == rows(whole, TIMES)
    with pytest.raises(UserError, match=r"branch_from is .*trunk in the run and cannot be changed to elsewhere"):
        resumed(result.folder, branch_from="elsewhere", steps=80)


@pytest.mark.slow
def test_a_branch_that_was_killed_before_its_first_checkpoint_begins_anew(whole, tmp_path, capsys):
    trunk = until(whole, tmp_path / "trunk", 40)
    folder = tmp_path / "branch"
    folder.mkdir()
    save_config(dataclasses.replace(branch_config(trunk, steps=41), out=None), folder / "config.yaml")
    result = xinet_jax.train(dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder)))
    said = " ".join(capsys.readouterr().err.split())
    assert "has no checkpoint yet: beginning anew" in said
    assert "going on from step 40 of" in said
    assert result.environment_steps == 41
    assert rows(folder, TIMES)[: len(rows(whole)) // 3] == rows(whole, TIMES)[: len(rows(whole)) // 3]


@pytest.mark.slow
def test_a_dense_run_goes_on_as_one_that_prunes(dense, tmp_path):
    """At no price and at a high one: both members of a seed start from the same one."""
    rules = RULES | {"prune_start": 41, "prune_stop": 70, "theta_every": 1, "theta_learning_rate": 0.02}
    changes = rules | {"nu": (0.0, 20_000.0), "steps": 80, "seeds": 1, "first_seed": 1, "log_every": 20}
    config = branch_config(dense, agent="xinet", out=str(tmp_path / "branch"), **changes)
    assert config.networks == load_config(dense / "config.yaml").networks
    result = xinet_jax.train(config, progress=False)
    assert [(member.nu, member.seed) for member in result.seeds] == [(0.0, 1), (20_000.0, 1)]
    free, dear = (sum(layer.parameters for layer in member.structure.layers) for member in result.seeds)
    start = sum(layer.parameters_before for layer in result.seeds[0].structure.layers)
    assert start >= free > dear
    # Until then the metrics of both are those of the other run's member of their seed.
    names = ("member", "nu", *TIMES)
    theirs = [row for row in rows(dense, names) if row.get("seed") == 1 and row["kind"] != "gymnasium"]
    for member in result.seeds:
        mine = [row for row in rows(result.folder) if row.get("member") == member.folder.name]
        assert {row["nu"] for row in mine} == {member.nu}
        ours = [{name: value for name, value in row.items() if name not in names} for row in mine]
        assert [row for row in ours if row["environment_steps"] <= 40] == theirs
        assert [step for step, _ in member.curve] == [40, 60, 80]


def test_mistakes_about_checkpoints_are_told_in_one_line(whole, tmp_path):
    def message(run, **changes):
        with pytest.raises(UserError) as caught:
            xinet_jax.train(branch_config(run, out=str(tmp_path / "branch"), **changes), progress=False)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "branch").exists()
        return str(caught.value)

    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(whole / "config.yaml", bare)
    assert message(bare).endswith("bare has no checkpoint to start from")
    assert message(whole).endswith("whole is trained to 60 steps already: choose more by steps")
    assert message(whole, steps=80, seeds=3).endswith("whole has no seed 2: it has 0 1")
    settings = {"agent": "xinet", "steps": 80, "prune_start": 30, "gated": GATED, "theta_every": 1, "prune_every": 1}
    if load_config(whole / "config.yaml").agent == "ofenet":  # the others' gates have settled
        assert "prune_stop must be above 60, the steps that" in message(whole, **settings, prune_stop=60)
    few = {"steps": 80, "replay_capacity": 60}
    assert "replay_capacity" not in message(whole, **few, first_seed=5), "as many as there were"
    assert "replay_capacity must be above the 60 transitions that" in message(whole, steps=80, replay_capacity=50)
    (kept(bare)).mkdir(parents=True)
    (kept(bare) / "60").mkdir()
    assert "none of the 1 checkpoints in" in message(bare, steps=80)
    assert [path.name for path in kept(bare).iterdir()] == ["60"], "nothing is set aside in a run of others"
    config = branch_config(whole, steps=80, out=str(whole), overwrite=True)
    with pytest.raises(UserError, match="lies in the run folder that --overwrite would clear"):
        xinet_jax.train(config, progress=False)
    assert kept(whole).exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "Ant-v5"}, "task is HalfCheetah-v5 in {run} and cannot be changed to Ant-v5"),
        ({"block_units": 6}, "block_units is 5 in {run} and cannot be changed to 6"),
        ({"actor_hidden": (7, 7)}, "actor_hidden is 7 6 in {run} and cannot be changed to 7 7"),
        ({"random_steps": 30}, "random_steps is 20 in {run} and cannot be changed to 30"),
        ({"preset": "paper"}, "preset is quick in {run} and cannot be changed to paper"),
        ({"engine": "mjx"}, "engine is native in {run} and cannot be changed to mjx"),
        ({"agent": "sac"}, "agent sac cannot start from agent xinet: only one of them has an OFENet"),
        ({"agent": "zinet"}, "unknown agent 'zinet': did you mean 'xinet'?"),
        ({"stepz": 3}, "unknown field 'stepz': did you mean 'steps'?"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
    ],
)
def test_what_may_not_be_changed_is_told_in_one_line(changes, words, tmp_path, capsys):
    save_config(tiny_config(engine="native"), tmp_path / "config.yaml")
    with pytest.raises(UserError) as caught:
        branch_config(tmp_path, **changes)
    message = words.format(run=tmp_path)
    assert message in str(caught.value)
    if "stepz" not in changes:
        ((name, value),) = changes.items()
        options = [f"--{name.replace('_', '-')}", *str(value).strip("()").split(", ")]
        assert main(["train", "--from", str(tmp_path), *options]) == 2
        assert capsys.readouterr().err == f"xinet: {caught.value}\n"


def test_a_branch_inherits_what_is_not_changed(tmp_path):
    source = tiny_config(engine="native", tau=0.1, nu=30.0, steps=6000, seeds=3)
    save_config(source, tmp_path / "config.yaml")
    run = str(tmp_path)
    config = train_config(["--from", run, "--nu", "3", "--learning-rate", "1e-3", "--eval-every", "7"])
    changes = {"nu": 3.0, "learning_rate": 1e-3, "eval_every": 7}
    assert config == branch_config(run, **changes) == override(source, changes | {"branch_from": run})
    other = train_config(["--from", run, "--agent", "magnitude", "--prune-start", "30", "--prune-every", "1"])
    preset = make_config(agent="magnitude").pruning
    assert other.pruning == dataclasses.replace(preset, prune_start=30, prune_every=1)
    assert (other.sac.tau, other.seeds, other.networks) == ((0.1,), 3, source.networks)
    named = tiny_config(tau=0.1, steps=6000, seeds=3, branch_from=run)
    assert check_branch(named, source).engine == "native", "the engine is that of the run if none is chosen"


def test_an_old_configuration_starts_from_nothing(tmp_path, capsys):
    save_config(tiny_config(), tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert "branch_from: null\n" in text
    (tmp_path / "config.yaml").write_text(text.replace("branch_from: null\n", ""))
    assert load_config(tmp_path / "config.yaml").branch_from is None
    assert main(["train", "--from", str(tmp_path), "--resume", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "xinet: --from starts a new run, --resume goes on with an old one: choose one\n"


def rows_of(trunk, config):
    config = dataclasses.replace(config, branch_from="RUN")
    return trunk_rows(config, identities(config), trunk, identities(trunk))


def test_members_go_on_from_those_of_their_seed_and_values():
    single, prices = tiny_config(seeds=3), tiny_config(seeds=3, nu=(1.0, 2.0))
    assert rows_of(single, single) == [0, 1, 2]
    assert rows_of(single, tiny_config(seeds=2, first_seed=1)) == [1, 2]
    assert rows_of(single, prices) == [0, 1, 2, 0, 1, 2]
    assert rows_of(single, tiny_config(seeds=1, tau=(0.1, 0.2))) == [0, 0]
    assert rows_of(prices, prices) == [0, 1, 2, 3, 4, 5]
    assert rows_of(prices, tiny_config(seeds=2, nu=2.0)) == [3, 4]
    assert rows_of(prices, tiny_config(seeds=1, nu=(2.0, 1.0), tau=(0.1, 0.2))) == [3, 3, 0, 0]
    entropies = tiny_config(agent="ofenet", target_entropy=(-1.0, -2.0))
    assert rows_of(entropies, tiny_config(target_entropy=-2.0)) == [1]
    with pytest.raises(UserError, match="RUN has no seed 3: it has 0 1 2"):
        rows_of(single, tiny_config(seeds=4))
    with pytest.raises(UserError, match="RUN has no member of seed 0 with nu 3: it has nu 1, seed 0; nu 1, seed 1"):
        rows_of(prices, tiny_config(nu=3.0))
    with pytest.raises(UserError, match="RUN has no member of seed 0 with target_entropy none"):
        rows_of(entropies, tiny_config())


def with_gates(config, trunk, change=lambda state: state):
    """Returns one agent of `trunk`, changed, with the gates of `config`."""
    before, after = (agents.make_agent(each, 17, 6) for each in (trunk, config))
    state = agents.init(before, agents.make_hyper(trunk, 6), jax.random.PRNGKey(0))
    state = jax.tree.map(lambda leaf: np.asarray(leaf)[None], change(state))
    config = dataclasses.replace(config, branch_from="RUN")
    setup = Setup(config, identities(config), None, after, [], None, None, None, None, np.zeros(1), "")
    return with_gates_of(setup, before, state)


def half_open(state):
    """Moves theta of one unit, and prunes another."""
    layer = state.theta["ofenet"]["state"][0]
    theta, alive = layer.at[:2].set((0.5, 0.0)), layer.at[1].set(0.0)
    rest, branches = state.theta["ofenet"]["state"][1:], state.theta["ofenet"]
    return state._replace(
        theta=state.theta | {"ofenet": branches | {"state": (theta, *rest)}},
        alive=state.alive | {"ofenet": branches | {"state": (alive, *rest)}},
    )


def test_gates_that_are_new_are_open():
    xinet = tiny_config(gated=GATED)
    state = with_gates(xinet, tiny_config(agent="ofenet"))
    whole = with_gates(xinet, xinet)
    for field in ("theta", "alive", "origin"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, field), getattr(whole, field))
    assert set(state.theta) == set(GATED)
    assert state.theta["critic"][0].shape == (1, 2, 8)


def test_actors_that_may_wait_go_on_waiting_or_do_not_wait_at_first():
    waits = tiny_config(gated=GATED, actor_waits=3, prune_every=4)
    np.testing.assert_array_equal(with_gates(waits, tiny_config(agent="ofenet")).waiting, [0])
    np.testing.assert_array_equal(with_gates(waits, waits, lambda s: s._replace(waiting=np.int32(2))).waiting, [2])
    assert with_gates(tiny_config(), waits).waiting is None


def test_gates_stay_as_they_are():
    state = with_gates(tiny_config(gated=GATED), tiny_config(), half_open)
    np.testing.assert_array_equal(state.theta["ofenet"]["state"][0], [[0.5, 0, 1, 1, 1]])
    np.testing.assert_array_equal(state.alive["ofenet"]["state"][0], [[1, 0, 1, 1, 1]])
    state = with_gates(tiny_config(agent="magnitude", prune_ramp=0, prune_start=30), tiny_config(), half_open)
    np.testing.assert_array_equal(state.theta["ofenet"]["state"][0], [[1, 0, 1, 1, 1]])


def test_gates_that_are_open_may_go_and_others_not():
    assert with_gates(tiny_config(agent="ofenet"), tiny_config()).theta == {}
    with pytest.raises(UserError, match="RUN has closed gates of ofenet, and agent ofenet has none there"):
        with_gates(tiny_config(agent="ofenet"), tiny_config(), half_open)
    with pytest.raises(UserError, match="RUN has gates of ofenet that are neither open nor closed: agent xinet with"):
        with_gates(tiny_config(), tiny_config(weights_see="mean"), half_open)
