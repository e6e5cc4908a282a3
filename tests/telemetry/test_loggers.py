"""Loggers never stop a run or hold it up."""

import json
import threading

import pytest

from xinet_jax.errors import UserError
from xinet_jax.telemetry import loggers
from xinet_jax.telemetry.loggers import Loggers
from xinet_jax.telemetry.sinks import Curves, chosen_sinks

SECONDS = 60.0  # that a test waits before it fails


def evaluation(step, member="seed_0"):
    return {"kind": "evaluation", "member": member, "environment_steps": step, "seconds": 1.0, "return": float(step)}


class Sink:
    """A logger that remembers what it is given, and fails at a step."""

    def __init__(self, fails_at=None):
        self.given, self.closed, self.fails_at = [], False, fails_at

    def write(self, member, scalars):
        if scalars.step == self.fails_at:
            raise ConnectionError("the service is away\nfor good")
        self.given.append((member, scalars.step))

    def close(self):
        self.closed = True


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts loggers with sinks in place of TensorBoard and Weights & Biases. Returns them, and what is printed."""

    def start(recorded=b"", **sinks):
        monkeypatch.setattr(loggers, "chosen_sinks", lambda names: list(sinks))
        monkeypatch.setattr(loggers, "open_sink", lambda name, curves: sinks[name]())
        notes = []
        curves = Curves(tmp_path / "run", {"seed_0": {}, "seed_1": {}}, 0.0)
        (tmp_path / "metrics.jsonl").write_bytes(recorded + b"what comes later")
        return Loggers(("jsonl",), curves, tmp_path / "metrics.jsonl", len(recorded), notes.append), notes

    return start


def test_a_logger_is_given_what_was_recorded_and_then_what_is_new(start):
    sink = Sink()
    recorded = b"".join(json.dumps(evaluation(step)).encode() + b"\n" for step in (10, 20))
    running, notes = start(recorded, tensorboard=lambda: sink)
    running.write(evaluation(30, "seed_1"))
    running.write({"kind": "checkpoint", "environment_steps": 30, "bytes": 5})
    running.write({"kind": "compaction", "environment_steps": 30, "seconds": 1.0, "compaction_seconds": 2.0})
    running.close(SECONDS)
    assert sink.given == [("seed_0", 10), ("seed_0", 20), ("seed_1", 30), ("seed_0", 30), ("seed_1", 30)]
    assert sink.closed
    assert notes == []


def test_a_logger_that_fails_is_told_of_once_and_the_others_go_on(start, tmp_path):
    good, bad = Sink(), Sink(fails_at=10)
    running, notes = start(tensorboard=lambda: bad, wandb=lambda: good)
    for step in (10, 20, 30):
        running.write(evaluation(step))
    running.close(SECONDS)
    assert (good.given, bad.given) == ([("seed_0", 10), ("seed_0", 20), ("seed_0", 30)], [])
    assert good.closed
    assert bad.closed
    again = f"xinet log {tmp_path / 'run'} --to tensorboard"
    says = "tensorboard has failed: the service is away; nothing is lost, and when that is mended, after the run"
    assert notes == [f"{says}: {again}"]


def test_a_logger_that_hangs_is_waited_for_only_so_long(start):
    answer = threading.Event()
    try:
        running, notes = start(wandb=lambda: answer.wait() and Sink())
        running.write(evaluation(10))
        running.close(patience=0.01)
        assert len(notes) == 1
        assert notes[0].startswith("wandb has not taken everything in 0 s; nothing is lost")
    finally:
        answer.set()


def test_a_missing_package_is_told_of_before_anything_is_trained(monkeypatch):
    assert chosen_sinks(["jsonl"]) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"log wandb needs the extra 'wandb': pip install 'xinet_jax\[wandb\]'"):
        chosen_sinks(["jsonl", "wandb"])
