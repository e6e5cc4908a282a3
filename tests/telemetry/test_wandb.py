"""Curves for Weights & Biases: without the service, and with one in its place that remembers what it has."""

import pytest

from xinet_jax.telemetry.scalars import scalars_of
from xinet_jax.telemetry.sinks import Curves

wandb = pytest.importorskip("wandb")

from xinet_jax.telemetry.wandb import Wandb  # noqa: E402


class Service:
    """What stands in for Weights & Biases: rows by step for each run's id."""

    def __init__(self, monkeypatch, mode="online", known=True):
        self.rows, self.settings = {}, {}
        about = type("About", (), {"settings": type("Settings", (), {"mode": mode})})
        monkeypatch.setattr(wandb, "setup", lambda settings: about)
        monkeypatch.setattr(wandb, "login", lambda prompt, verify: known)
        monkeypatch.setattr(wandb, "init", self.init)

    def init(self, **settings):
        service, rows = self, self.rows.setdefault(settings["id"], {})
        service.settings[settings["id"]] = settings

        class Run:
            starting_step = max(rows, default=-1) + 1

            def define_metric(self, name, step_metric):
                assert (name, step_metric) == ("*", "environment_steps")

            def log(self, values, step):
                assert step >= max(rows, default=0), "steps only grow"
                rows.setdefault(step, {}).update(values)

            def finish(self):
                pass

        return Run()


def records(steps):
    stamp = {"member": "seed_0", "seconds": 1.0}
    for step in steps:
        units = {"units": {"actor/head": 2}}
        yield stamp | {"kind": "train", "environment_steps": step, "critic_loss": float(step)} | units
        yield stamp | {"kind": "evaluation", "environment_steps": step, "return": float(step)}


def send(folder, records, members=("seed_0",)):
    sink = Wandb(Curves(folder, {name: {"nu": 3.0} for name in members}, 0.0))
    for record in records:
        sink.write("seed_0", scalars_of(record))
    sink.close()
    wandb.teardown()  # its own process has written everything


def test_a_resumed_run_goes_on_with_the_same_curves_without_gaps_or_doubles(tmp_path, monkeypatch):
    service, folder = Service(monkeypatch), tmp_path / "my run"
    folder.mkdir()
    last = {"kind": "gymnasium", "member": "seed_0", "environment_steps": 40, "seconds": 2.0, "return": 7.0}
    send(folder, records([10, 20, 30]))  # killed; the newest checkpoint is at step 20
    send(folder, [*records([10, 20]), *records([30, 40])])  # killed before the saved policy was evaluated
    send(folder, [*records([10, 20, 30, 40]), last])
    (rows,) = service.rows.values()
    of = lambda name: [(row["environment_steps"], row[name]) for row in rows.values() if name in row]  # noqa: E731
    for name in ("train/critic_loss", "eval/return"):
        assert of(name) == [(step, float(step)) for step in (10, 20, 30, 40)]
    assert of("final/return") == [(40, 7.0)]
    (settings,) = service.settings.values()
    assert {name: settings[name] for name in ("project", "group", "name", "resume", "config")} == {
        "project": "xinet_jax",
        "group": "my run",
        "name": "seed_0",
        "resume": "allow",
        "config": {"nu": 3.0},
    }


def test_members_are_runs_of_a_project_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "pruned")
    service = Service(monkeypatch)
    send(tmp_path, records([10]), members=("seed_0", "seed_1"))
    assert {settings["project"] for settings in service.settings.values()} == {"pruned"}
    assert [settings["name"] for settings in service.settings.values()] == ["seed_0", "seed_1"]
    assert len(service.rows) == 2


def test_a_compaction_that_is_recorded_late_joins_what_was_recorded_last(tmp_path, monkeypatch):
    service = Service(monkeypatch)
    compaction = {"kind": "compaction", "environment_steps": 10, "seconds": 1.0, "compaction_seconds": 4.0}
    send(tmp_path, [*records([10, 20]), compaction])
    (rows,) = service.rows.values()
    newest = list(rows.values())[-1]
    assert (newest["environment_steps"], newest["compaction/seconds"]) == (20, 4.0)


def test_without_an_account_it_says_what_to_do(tmp_path, monkeypatch):
    Service(monkeypatch, known=False)
    with pytest.raises(RuntimeError, match="no API key: run `wandb login`, or set WANDB_MODE=offline"):
        send(tmp_path, [])


def test_without_the_service_each_start_writes_everything_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    send(tmp_path, records([10, 20]))
    (first,) = (tmp_path / "wandb").glob("offline-run-*")
    send(tmp_path, records([10]))
    (second,) = (tmp_path / "wandb").glob("offline-run-*")
    assert second.name != first.name, "an id that the service cannot have"
    (file,) = second.glob("run-*.wandb")
    assert b"eval/return" in file.read_bytes()
    file.with_name(f"{file.name}.synced").touch()
    send(tmp_path, records([10]))
    assert second.exists(), "what was sent to the service stays"
