"""Runs that end or are resumed where gates settle: pruning happens as promised, and to the last bit."""

import dataclasses
import shutil

import pytest
from helpers import SMALLEST, tiny_config

import xinet_jax
from xinet_jax.config import load_config
from xinet_jax.networks.complexity import left
from xinet_jax.training import checkpoints, setup
from xinet_jax.training.program import make_program
from xinet_jax.training.results import read_records

RULES = {
    "task": "Hopper-v5",
    "gated": ("ofenet", "actor", "critic"),
    "prune_start": 21,
    "prune_ramp": 0,
    "prune_stop": 40,
}
RULES |= {"keep_share": 0.4, "eval_episodes": 1, "final_episodes": 1, "checkpoint_every": 20, "seeds": 2, **SMALLEST}


def resumed(folder, **changes):
    config = dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder), **changes)
    return xinet_jax.train(config, progress=False)


def arrays(folder, step):
    """Returns the checksums of a checkpoint's arrays, and whether its gates have settled."""
    header = checkpoints.read_header(folder / "checkpoints" / "all" / str(step))
    return header["arrays"], header["settled"]


FOUND = {"price": "found", "order": "magnitude", "estimator": "fisher", "prune_ramp": 10, "compact": "end"}


@pytest.fixture(scope="module", params=[FOUND, pytest.param({"compact": "auto"}, marks=pytest.mark.slow)])
def whole(request, tmp_path_factory):
    """A run of 60 steps that settles at step 40."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    config = tiny_config(out=str(folder), steps=60, checkpoint_keep=9, **RULES | request.param)
    result = xinet_jax.train(config, progress=False)
    assert all(left(member.structure.layers) <= 0.4 for member in result.seeds)
    assert arrays(folder, 40)[1]
    prices = [record.get("price") for record in read_records(folder) if record["kind"] == "train"]
    assert prices[0] > 0
    assert prices[-1] is None  # theta has come to rest
    return folder


def test_a_checkpoint_at_prune_stop_goes_on_to_the_last_bit(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints" / "all" / "60")
    resumed(folder)
    assert arrays(folder, 60) == arrays(whole, 60)


@pytest.mark.slow
def test_before_and_after_a_resumption_the_same_program_is_compiled(tmp_path, monkeypatch):
    """Another one, with a pass for theta that is never due, would round differently."""
    programs = []

    def make(agent, *arguments):
        program = make_program(agent, *arguments)

        def train(hyper, state, first_step, *numbers):
            programs.append((first_step, agent.pruner))
            return program.train(hyper, state, first_step, *numbers)

        return program._replace(train=train)

    monkeypatch.setattr(setup, "make_program", make)
    folder = tmp_path / "run"
    xinet_jax.train(tiny_config(out=str(folder), steps=60, compact="off", **RULES), progress=False)
    assert {pruner for step, pruner in programs if step < 40} == {"theta"}
    assert {pruner for step, pruner in programs if step >= 40} == {"none"}
    shutil.rmtree(folder / "checkpoints" / "all" / "60")
    programs.clear()
    resumed(folder)
    assert {pruner for _, pruner in programs} == {"none"}


@pytest.mark.slow
def test_a_run_that_ends_at_prune_stop_settles_and_can_be_made_longer(whole, tmp_path):
    folder = tmp_path / "run"
    config = dataclasses.replace(load_config(whole / "config.yaml"), out=str(folder), steps=40)
    result = xinet_jax.train(config, progress=False)
    assert all(left(member.structure.layers) <= 0.4 for member in result.seeds)
    result = resumed(folder, steps=60)
    assert all(left(member.structure.layers) <= 0.4 for member in result.seeds)
    if (
        config.pruning.compact == "end"
    ):  # with auto, the arrays of a run with more steps to go are compacted where gates settle
        assert arrays(folder, 60) == arrays(whole, 60)
