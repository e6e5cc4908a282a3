import io
import json
import os
import re
import sys

import pytest
from rich.table import Table

from xinet_jax import cli
from xinet_jax.config import make_config, save_config
from xinet_jax.telemetry.console import FittingConsole
from xinet_jax.telemetry.progress import ProgressDisplay, Status, _Stderr


def run(arguments, capsys):
    try:
        code = cli.main(arguments.split())
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --task HalfCheeta-v5", "unknown task 'HalfCheeta-v5': did you mean 'HalfCheetah-v5'?"),
        ("train --preset quickly", "unknown preset 'quickly': did you mean 'quick'?"),
        ("train --agent zinet", "unknown agent 'zinet': did you mean 'xinet'?"),
        ("train --engine nativ", "unknown engine 'nativ': did you mean 'native'?"),
        ("train --stepps 3", "unknown option --stepps: did you mean --steps?"),
        ("train --steps=3 --prune-strat=2", "unknown option --prune-strat: did you mean --prune-start?"),
        ("train --steps many", "--steps: invalid literal for int()"),
        ("train --steps", "--steps"),
        ("train --task", "--task"),
        ("train --steps 0", "steps must be at least 1, not 0"),
        ("train --actor-hidden 0", "actor_hidden must be one or more widths"),
        ("train --prune-start 40000", "prune_start must be below steps"),
        ("train --nu -5", "0 or more"),
        ("train --agent small --widths-from nowhere", "nowhere does not exist"),
        ("train something", "something"),
        ("trian", "unknown command 'trian': did you mean 'train'?"),
        ("evaluate nowhere", "nowhere does not exist"),
        ("evaluate", "PATH"),
        ("evaluate nowhere --episodes 0", "episodes must be at least 1"),
        ("evaluate nowhere --seed -1", "seed must be 0 or more"),
        ("evaluate nowhere --episode 3", "unknown option --episode: did you mean --episodes?"),
        ("inspect nowhere", "nowhere does not exist"),
        ("train --nu 3 --nu 4", "option --nu is repeated: give it once, with all values: --nu 3 4"),
        ("train --nu=3 5 --seeds 2 --nu=4", "option --nu is repeated: give it once, with all values: --nu 3 5 4"),
        ("train --task-options a=1 --task-options b=2", "with all values: --task-options a=1 b=2"),
        ("train --steps 3 --seeds 2 --steps 4", "option --steps is repeated: give it once"),
        ("train --task Ant-v5 --task Ant-v5", "option --task is repeated: give it once"),
        ("train --prune_start 3 --prune-start=4", "option --prune-start is repeated: give it once"),
        ("train --overwrite --steps 3 --overwrite", "option --overwrite is repeated: give it once"),
        ("train --from nowhere", "cannot read configuration nowhere/config.yaml"),
        ("train --from", "Missing value for argument '--from'"),
        ("train --from a --from b", "option --from is repeated: give it once"),
        ("train --from a --resume b", "--from starts a new run, --resume goes on with an old one: choose one"),
        ("train --overwrite --no-overwrite", "options --overwrite and --no-overwrite exclude each other: choose one"),
        ("evaluate nowhere --seed 1 --seed 2", "option --seed is repeated: give it once"),
        ("inspect nowhere --no-json --json", "options --no-json and --json exclude each other: choose one"),
        ("render nowhere --out a.gif --out b.gif", "option --out is repeated: give it once"),
        ("tasks --json --json", "option --json is repeated: give it once"),
        ("train --log tensorbord", "unknown log 'tensorbord': did you mean 'tensorboard'?"),
        ("train --log", "log must be one or more of jsonl, tensorboard, wandb, not empty"),
        ("train --log jsonl jsonl", "log must be a list of different names, not jsonl jsonl"),
        ("runs nowhere", "nowhere does not exist"),
        ("runs pyproject.toml", "pyproject.toml is not a folder"),
        ("log nowhere --to tensorboard", "cannot read configuration nowhere/config.yaml"),
        ("log nowhere --to jsonl", "unknown log 'jsonl': allowed: tensorboard, wandb"),
        ("log nowhere --to", "to must be one or more of tensorboard, wandb, not empty"),
        ("log nowhere", "--to"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(arguments, message, capsys):
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("xinet: ")
    assert message in err


def test_a_missing_package_ends_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run("train --log tensorboard", capsys) == (
        2,
        "",
        "xinet: log tensorboard needs the extra 'tensorboard': pip install 'xinet_jax[tensorboard]'\n",
    )


def test_an_existing_run_folder_ends_in_one_line(tmp_path, capsys):
    code, _, err = run(f"train --out {tmp_path}", capsys)
    assert code == 2
    assert err == f"xinet: run folder {tmp_path} exists: choose another with --out, or give --overwrite\n"


@pytest.mark.parametrize("arguments", ["--help", "train --help", "evaluate --help", "inspect --help"])
def test_help(arguments, capsys):
    code, out, _ = run(arguments, capsys)
    assert code in (0, None)
    assert "usage: xinet" in out


def test_train_help_explains_every_field_with_its_unit(capsys):
    from xinet_jax.config import field_names, make_config, to_flat

    switches = [name for name, value in to_flat(make_config()).items() if isinstance(value, bool)]
    _, out, _ = run("train --help", capsys)
    plain = " ".join(out.replace("│", " ").split())
    for name in field_names():
        option = "--from" if name == "branch_from" else "--" + name.replace("_", "-")
        assert option in plain
        if name not in switches:
            explanation = plain.split(f"{option} ", 1)[1].split("(default", 1)[0]
            assert re.search(r"\[[a-z0-9 /]+\]", explanation), name


def test_train_help_shows_the_presets_own_defaults(capsys):
    _, out, _ = run("train --preset paper --task Hopper-v5 --help", capsys)
    plain = " ".join(out.replace("│", " ").split())
    assert "(default: 1000000)" in plain
    assert "(default: 256 256)" in plain


def run_in(encoding, arguments, monkeypatch):
    """Runs a command whose streams have an encoding. Returns the exit code, and what was written to both."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            code = cli.main(arguments.split())
        except SystemExit as stop:
            code = stop.code or 0
    for stream in streams.values():
        stream.flush()
    return code, *(stream.buffer.getvalue().decode(encoding) for stream in streams.values())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        ("tasks", "1000 × 0.05 s", 0),
        ("tasks Ant-v5", "--task-options", 0),
        ("--help", "usage: xinet", 0),
        ("train --help", "usage: xinet train", 0),
        ("tasks Ant→v5", "unknown task 'Ant→v5'", 2),
        ("inspect nu–300±…", "nu–300±… does not exist", 2),
    ],
)
def test_text_is_written_in_whatever_encoding(arguments, text, code, encoding, monkeypatch):
    stand_ins = {"utf-8": {}, "latin-1": {"→": "->", "–": "-", "…": "..."}}
    stand_ins["ascii"] = stand_ins["latin-1"] | {"×": "x", "±": "+/-"}
    for character, stand_in in stand_ins[encoding].items():
        text = text.replace(character, stand_in)
    status, out, err = run_in(encoding, arguments, monkeypatch)
    assert status == code
    assert text in out + err


def test_columns_stay_straight_where_ascii_takes_more_room():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    table = Table("a → b", "c", title="ν ± …")
    table.add_row("4 → 4", "é")
    table.add_row("long enough", ":smile: ±")
    FittingConsole(file=file, width=60).print(table)
    file.flush()
    title, *lines = file.buffer.getvalue().decode("ascii").splitlines()
    assert title.strip() == "nu +/- ..."
    assert len({len(line.rstrip()) for line in lines}) == 1
    assert "| 4 -> 4 " in lines[3]
    assert "| \\xe9 " in lines[3]
    assert ":smile: +/-" in lines[4]


def test_names_of_files_that_are_no_text_are_written_as_they_are():
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    FittingConsole(file=file, width=60).print(os.fsdecode(b"r\xff\xc3\xa9"))
    file.flush()
    assert file.buffer.getvalue() == b"r\xff\xc3\xa9\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_written_in_whatever_encoding(terminal):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    status = Status("training", 10, 20, 5.0, 1.0, 3.0, 4.0)
    with ProgressDisplay(console=_Stderr(file=file, force_terminal=terminal, width=100)) as display:
        display.show(status)
        display.note("return 1, …; 3 → 4 updates/s")
    file.flush()
    assert b"return 1, ...; 3 -> 4 updates/s" in file.buffer.getvalue()
    assert (b"return 5 - params 100%" in file.buffer.getvalue()) == terminal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nimport no_such_module\n", ", line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("import sys\n\nsys.exit(7)\n", ", line 3: it ends Python by sys.exit(7)"),
        ("raise SystemExit\n", ", line 1: it ends Python by sys.exit(None)"),
        ("def f():\n    this is no Python\n", ", line 2: SyntaxError: invalid syntax"),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()\n", ", line 2: ValueError: a"),
        ("import json\n\njson.loads('{')\n", ", line 3: JSONDecodeError: "),
        ("assert 0\n", ", line 1: AssertionError"),
        ("import xinet_jax\nxinet_jax.register_task('Ant-v5', 'a.xml', len)\n", ", line 2: a task Ant-v5 is regist"),
        ("\0\0", ": "),
        (b"\x89PNG\xff\xfe", ", line 1: SyntaxError: "),
    ],
)
def test_mistakes_in_a_file_of_the_users_end_in_one_line(text, message, tmp_path, capsys):
    file = tmp_path / ("long" * 20) / "tasks.py"  # the path is shown whole
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = run(f"tasks Ant-v5 --import {file}", capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"xinet: --import {file}{message}")
    assert err.count("\n") == 1


def test_an_interrupt_in_a_file_of_the_users_is_one(tmp_path, capsys):
    (tmp_path / "tasks.py").write_text("raise KeyboardInterrupt\n")
    assert run(f"tasks Ant-v5 --import {tmp_path / 'tasks.py'}", capsys) == (130, "", "")


def test_several_files_are_imported(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(f"print({name!r})\n")
    code, out, _ = run(f"tasks --json --import {tmp_path / 'one.py'} --import {tmp_path / 'two.py'}", capsys)
    assert code == 0
    assert out.startswith("one\ntwo\n{")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "metrics.jsonl has no metrics yet"),
        ("[1]\n", "metrics.jsonl: record 1 is not one of metrics"),
        ('{"kind": "train"}\n{"member": "seed_0"}\n', "metrics.jsonl: record 2 is not one of metrics"),
        ('{"kind": "train", "seconds": null}\n', "metrics.jsonl: record 1 is not one of metrics"),
        (f'{{"kind": "train", "seconds": {10**400}}}\n', "metrics.jsonl: record 1 is not one of metrics"),
        ('{"kind": "train", "member": ["seed_0"]}\n', "metrics.jsonl: record 1 is not one of metrics"),
        ('{"kind": "train", "member": "seed_9"}\n', "metrics.jsonl has members that the run's configuration has not"),
    ],
)
def test_metrics_that_are_damaged_are_told_in_one_line(lines, message, tmp_path, capsys):
    save_config(make_config(), tmp_path / "config.yaml")
    (tmp_path / "metrics.jsonl").write_text(lines)
    code, out, err = run(f"log {tmp_path} --to tensorboard", capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_train_evaluate_inspect(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    sizes = "--steps 40 --random-steps 20 --pretrain-updates 3 --blocks 1 --block-units 4 --actor-hidden 8 8"
    more = "--critic-hidden 8 8 --batch-size 16 --prune-start 21 --prune-every 5 --final-episodes 1 --eval-episodes 1"
    code, out, _ = run(f"train --task Hopper-v5 --out {folder} {sizes} {more}", capsys)
    assert code == 0
    assert "in Gymnasium" in out
    assert "critic_2" in out
    code, out, _ = run(f"evaluate {folder} --episodes 3 --json", capsys)
    assert code == 0
    policies = json.loads(out)["policies"]
    assert len(policies) == 1
    assert len(policies[0]["returns"]) == 3
    assert policies[0]["task"] == "Hopper-v5"
    code, out, _ = run(f"evaluate {folder / 'policy' / 'seed_0'} --episodes 1", capsys)
    assert code == 0
    assert "Hopper-v5" in out
    code, out, _ = run(f"inspect {folder} --json", capsys)
    assert code == 0
    seen = json.loads(out)["policies"][0]
    assert seen["state_blocks"] == [4]
    assert seen["parameters_left"] == 1.0
    assert {layer["network"] for layer in seen["layers"]} == {"ofenet", "actor", "critic_1", "critic_2"}
    code, out, _ = run(f"inspect {folder}", capsys)
    assert code == 0
    assert "state_1" in out
    assert "4 → 4" in out
    for encoding in ("ascii", "latin-1", "cp437"):
        code, out, _ = run_in(encoding, f"inspect {folder}", monkeypatch)
        assert code == 0
        assert "4 -> 4" in out
        code, out, err = run_in(encoding, f"evaluate {folder} --episodes 1", monkeypatch)
        assert code == 0, err
        assert ("+/- 0" if encoding == "ascii" else "± 0") in out
    code, out, err = run_in("ascii", f"train --task Hopper-v5 --out {folder} --overwrite {sizes} {more}", monkeypatch)
    assert code == 0, err
    assert "+/-" in out
    assert "step 40 of 40" in err
    lines = [line.rstrip() for line in out.splitlines() if line.startswith("|")]
    assert {line[-1] for line in lines} == {"|"}
