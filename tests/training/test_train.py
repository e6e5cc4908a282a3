"""A run from its configuration to its results, with stand-ins for what prepares, trains and saves."""

import contextlib
import signal
from types import SimpleNamespace
from unittest.mock import create_autospec

import numpy as np
import pytest
from helpers import tiny_config

from xinet_jax.agent.state import AgentState
from xinet_jax.errors import UserError
from xinet_jax.networks.modules import Shape
from xinet_jax.tasks.engines.physics import Failure
from xinet_jax.tasks.engines.vector import Vectors
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.telemetry.loggers import Loggers
from xinet_jax.training import run
from xinet_jax.training.checkpoints import Checkpoints
from xinet_jax.training.description import Description
from xinet_jax.training.devices import make_mesh
from xinet_jax.training.loop import Loop
from xinet_jax.training.member import Member
from xinet_jax.training.members import identities
from xinet_jax.training.opening import Opened
from xinet_jax.training.phases import Position
from xinet_jax.training.reporter import Reporter
from xinet_jax.training.resume import Start
from xinet_jax.training.savings import Ledger
from xinet_jax.training.setup import Setup

MEMBER = Member(AgentState(*[()] * 8, np.array([False])), (), (), ())
SHAPE = Shape(17, 6, 17, (5,), (5,), (7,), (8,))
DESCRIPTION = Description(
    Position("train", 40), 40, 9.0, ("seed_0",), SHAPE, False, 60, 40, 42, 100, Ledger(realised=0.5), 7.0
)


class Bench:
    """A run of stand-ins, and what they were asked for."""

    def __init__(self, folder, monkeypatch, start=False, stopped=False, refusal=None, failure=None):
        self.events, self.stopped, self.refusal = [], stopped, refusal
        self.config = tiny_config(engine="native")
        mesh, members = make_mesh(1, 1), identities(self.config)
        self.host = create_autospec(Vectors, instance=True)
        self.host.close.side_effect = lambda: self.events.append("environments closed")
        task = SimpleNamespace(engine=SimpleNamespace(host=self.host))
        setup = Setup(self.config, members, task, None, [], mesh, None, None, (), np.zeros(1, np.int32), "1 MB")
        metrics, checkpoints = create_autospec(JsonLines, instance=True), create_autospec(Checkpoints, instance=True)
        metrics.close.side_effect = lambda: self.events.append("metrics closed")
        checkpoints.close.side_effect = lambda: self.events.append("checkpoints closed")
        self.loop = create_autospec(Loop, instance=True)
        self.loop.setup, self.loop.steps, self.loop.failure = setup, 60, failure
        self.loop.begin.side_effect = lambda: self.done("begin", MEMBER)
        self.loop.resume.side_effect = lambda position, state: self.done(f"resume {position.iteration}", state)
        self.loop.train.side_effect = self.train
        loggers, reporter = create_autospec(Loggers, instance=True), create_autospec(Reporter, instance=True)
        loggers.close.side_effect = lambda: self.events.append("loggers closed")
        reporter.finish.side_effect = lambda: self.events.append("report")
        monkeypatch.setattr(run, "Reporter", lambda *_: reporter)
        begun = Start(setup, MEMBER, DESCRIPTION) if start else None
        opened = Opened(setup, begun, folder, metrics, loggers, checkpoints)
        monkeypatch.setattr(run, "opened", lambda *_: contextlib.nullcontext(opened))
        monkeypatch.setattr(run, "Loop", self.make_loop)
        monkeypatch.setattr(run, "save_policies", self.save)
        monkeypatch.setattr(run, "evaluate_policies", lambda *_: self.events.append("policies evaluated"))
        monkeypatch.setattr(run, "read_members", lambda *_: ())
        monkeypatch.setattr(run, "save_trade_off", lambda *_: self.events.append("results"))

    def done(self, event, result):
        self.events.append(event)
        return result

    def make_loop(self, setup, recorder, compactor, saver, stop, reporter):
        self.ledger = compactor.ledger
        return self.loop

    def train(self, state):
        if self.stopped:
            signal.raise_signal(signal.SIGTERM)
        return self.done("trained", state)

    def save(self, setup, state, steps, folder):
        if self.refusal:
            raise self.refusal
        self.events.append("policies saved")


def test_a_run_trains_saves_evaluates_and_returns_its_results(tmp_path, monkeypatch, capsys):
    bench = Bench(tmp_path, monkeypatch)
    result = run.train(bench.config)
    assert bench.events == [
        "begin",
        "trained",
        "policies saved",
        "policies evaluated",
        "checkpoints closed",
        "metrics closed",
        "loggers closed",
        "report",
        "results",
        "environments closed",
    ]
    assert (result.folder, result.environment_steps, result.interrupted) == (tmp_path, 60, None)
    assert bench.ledger == Ledger()
    said = capsys.readouterr().err
    assert "xinet on HalfCheetah-v5, 1 seed" in said
    assert "policies saved; running them in Gymnasium's HalfCheetah-v5" in said


def test_a_run_goes_on_with_what_it_has_learnt(tmp_path, monkeypatch, capsys):
    bench = Bench(tmp_path, monkeypatch, start=True)
    run.train(bench.config)
    assert bench.events[:2] == ["resume 40", "trained"]
    assert bench.ledger == Ledger(realised=0.5)
    assert "going on from step 40" in capsys.readouterr().err


def test_an_interrupted_run_saves_its_policies_and_evaluates_none(tmp_path, monkeypatch, capsys):
    bench = Bench(tmp_path, monkeypatch, stopped=True)
    result = run.train(bench.config)
    assert result.interrupted == "SIGTERM"
    closed = ["checkpoints closed", "metrics closed", "loggers closed", "report", "results", "environments closed"]
    assert bench.events[1:] == ["trained", "policies saved", *closed]
    assert "SIGTERM at step 60: what was learnt so far is saved in" in capsys.readouterr().err
    assert not (tmp_path / "stopping").exists()


def test_policies_that_cannot_be_saved_end_a_run_once_its_files_are_closed(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, refusal=UserError("cannot save policy: the disk is full"))
    with pytest.raises(UserError, match="the disk is full; when that is mended: xinet train --resume"):
        run.train(bench.config, progress=False)
    assert bench.events == [
        "begin",
        "trained",
        "checkpoints closed",
        "metrics closed",
        "loggers closed",
        "report",
        "environments closed",
    ]


def test_an_exception_in_an_environment_ends_a_run_with_its_policies_and_the_traceback(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, failure=Failure("ValueError: it fell", "in line 7"))
    with pytest.raises(UserError, match="HalfCheetah-v5 failed by step 60: ValueError: it fell; its traceback is in"):
        run.train(bench.config, progress=False)
    closed = ["checkpoints closed", "metrics closed", "loggers closed", "report", "environments closed"]
    assert bench.events == ["begin", "trained", "policies saved", *closed]
    assert (tmp_path / "environment_error.txt").read_text() == "in line 7"


def test_environments_are_closed_whatever_happens(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    bench.loop.train.side_effect = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run.train(bench.config, progress=False)
    assert bench.events == ["begin", "environments closed"]
