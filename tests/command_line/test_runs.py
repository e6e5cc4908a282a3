"""`xinet runs`: the table of runs, from their files alone."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from helpers import tiny_config

from xinet_jax.cli import main
from xinet_jax.config import save_config
from xinet_jax.training import run_folder


def write_run(folder, steps=60, evaluated=(40, 60), finished=(), diverged=(), changed=1000, **settings):
    """Writes what a run of the seeds 0 and 1, trained to a step, leaves in its folder."""
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    save_config(dataclasses.replace(tiny_config(seeds=2), **settings), folder / "config.yaml")
    rows = []
    for step in range(20, steps + 1, 20):
        segment = {"kind": "train", "environment_steps": step, "parameters_left": 1 - step / 100}
        rows += [segment | {"member": f"seed_{seed}", "diverged": seed in diverged} for seed in (0, 1)]
        if step in evaluated:
            row = {"kind": "evaluation", "environment_steps": step}
            rows += [row | {"member": f"seed_{seed}", "return": 10.0 * step + seed} for seed in (0, 1)]
        rows.append({"kind": "checkpoint", "environment_steps": step, "bytes": 5})
    row = {"kind": "gymnasium", "environment_steps": steps, "return": 1.0, "returns": [1.0]}
    rows += [row | {"member": f"seed_{seed}"} for seed in finished]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"kind": "tra')
    os.utime(folder / "metrics.jsonl", (changed, changed))


def listed(capsys, *arguments):
    """Returns what `xinet runs --json` says, by folder, and what it prints as notes."""
    assert main(["runs", "--json", *map(str, arguments)]) == 0
    shown = capsys.readouterr()
    return {run["folder"]: run for run in json.loads(shown.out)["runs"]}, shown.err


def test_runs_are_listed_newest_first_with_their_states(tmp_path, capsys):
    write_run(tmp_path / "done", finished=(0, 1), changed=1000)
    write_run(tmp_path / "sub" / "stopped", steps=40, evaluated=(20,), changed=3000, task="MyOwn-v0")
    write_run(tmp_path / "sub" / "going", steps=20, evaluated=(), changed=2000)
    with run_folder.lock(tmp_path / "sub" / "going"):
        runs, notes = listed(capsys, tmp_path)
    assert notes == ""
    assert list(runs) == [str(tmp_path / name) for name in ("sub/stopped", "sub/going", "done")]
    stopped, going, done = runs.values()
    assert done == {
        "folder": str(tmp_path / "done"),
        "task": "HalfCheetah-v5",
        "agent": "xinet",
        "members": 2,
        "environment_steps": 60,
        "steps": 60,
        "return": 600.5,
        "parameters_left": pytest.approx(0.4),
        "state": "finished",
    }
    assert (stopped["state"], stopped["return"], stopped["environment_steps"]) == ("interrupted", 200.5, 40)
    assert (stopped["task"], stopped["parameters_left"]) == ("MyOwn-v0", pytest.approx(0.6))
    assert (going["state"], going["return"]) == ("running", None)


def test_a_run_is_finished_when_every_member_is(tmp_path, capsys):
    write_run(tmp_path / "one_of_two", finished=(0,))
    write_run(tmp_path / "trained_on", steps=40, finished=(0, 1))
    write_run(tmp_path / "diverged", steps=40, finished=(0, 1), diverged=(0, 1))
    runs, _ = listed(capsys, tmp_path)
    states = {Path(folder).name: run["state"] for folder, run in runs.items()}
    assert states == {"one_of_two": "interrupted", "trained_on": "interrupted", "diverged": "finished"}


def test_the_members_of_several_processes_are_taken_together(tmp_path, capsys):
    write_run(tmp_path / "run", finished=(0, 1))
    file = tmp_path / "run" / "metrics.jsonl"
    rows = [line for line in file.read_text().splitlines() if line.endswith("}")]
    for name, seed in (("metrics.jsonl", 0), ("metrics-1.jsonl", 1)):
        own = [line for line in rows if json.loads(line).get("member") in (None, f"seed_{seed}")]
        (tmp_path / "run" / name).write_text("\n".join(own) + "\n")
    (run,) = listed(capsys, tmp_path)[0].values()
    assert (run["return"], run["state"]) == (600.5, "finished")


def test_every_combination_of_values_is_a_member(tmp_path, capsys):
    write_run(tmp_path / "run")
    save_config(tiny_config(seeds=2, nu=(1, 2, 3), tau=(0.1, 0.2)), tmp_path / "run" / "config.yaml")
    (run,) = listed(capsys, tmp_path / "run")[0].values()
    assert run["members"] == 12


@pytest.mark.parametrize(
    ("name", "content", "trouble"),
    [
        ("config.yaml", "a: 1", "unknown field 'a'"),
        ("config.yaml", "steps: many", "seeds and steps must be whole numbers"),
        ("config.yaml", None, "cannot read configuration"),
        ("metrics.jsonl", "no JSON\n", "metrics cannot be read"),
        ("metrics.jsonl", "[]\n", "metrics cannot be read"),
        ("metrics.jsonl", '{"kind": "train", "environment_steps": null}\n', "metrics cannot be read"),
    ],
)
def test_damaged_runs_are_listed_as_such(name, content, trouble, tmp_path, capsys):
    write_run(tmp_path / "run")
    if content is None:
        (tmp_path / "run" / name).unlink()
    else:
        (tmp_path / "run" / name).write_text(content)
    (run,) = listed(capsys, tmp_path)[0].values()
    assert run["state"] == "damaged"
    assert trouble in run["trouble"]
    assert main(["runs", str(tmp_path)]) == 0
    assert "damaged" in capsys.readouterr().out


def test_links_do_not_lead_in_circles_and_foreign_folders_are_no_runs(tmp_path, capsys):
    write_run(tmp_path / "elsewhere" / "run")
    (tmp_path / "top" / "deep").mkdir(parents=True)
    (tmp_path / "top" / "deep" / "loop").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top" / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "top" / "itself").symlink_to(tmp_path / "top" / "itself")
    (tmp_path / "top" / "config.yaml").write_text("title: not ours")
    write_run(tmp_path / "top" / ".hidden" / "run")
    runs, notes = listed(capsys, tmp_path / "top")
    assert list(runs) == [str(tmp_path / "top" / "link" / "run")]
    assert notes == ""


def test_what_cannot_be_read_is_told_of_and_the_others_are_listed(tmp_path, capsys, monkeypatch):
    write_run(tmp_path / "run")
    (tmp_path / "secret").mkdir()
    scan = os.scandir

    def refusing(folder):
        if Path(folder).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    runs, notes = listed(capsys, tmp_path)
    assert list(runs) == [str(tmp_path / "run")]
    assert notes == f"xinet: cannot read {tmp_path / 'secret'}: Permission denied\n"


def test_no_runs_is_one_clear_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"


def test_the_table_has_a_line_per_run(tmp_path, capsys):
    write_run(tmp_path / "a [b] c", finished=(0, 1))
    assert main(["runs", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "HalfCheetah" in line]
    cells = [cell.strip() for cell in re.split("[│|]", line)[1:-1]]
    assert cells == ["a [b] c", "HalfCheetah-v5", "xinet", "2", "60/60", "600", "40%", "finished"]


def test_looking_at_a_lock_neither_makes_nor_takes_it(tmp_path):
    assert not run_folder.is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
    held = run_folder.lock(tmp_path)
    assert run_folder.is_held(tmp_path)
    held.close()
    assert not run_folder.is_held(tmp_path)
