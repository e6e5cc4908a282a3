import json
import re

import pytest

from xinet_jax import cli


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
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(arguments, message, capsys):
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("xinet: ")
    assert message in err


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
        option = "--" + name.replace("_", "-")
        assert option in plain
        if name not in switches:
            explanation = plain.split(f"{option} ", 1)[1].split("(default", 1)[0]
            assert re.search(r"\[[a-z0-9 /]+\]", explanation), name


def test_train_help_shows_the_presets_own_defaults(capsys):
    _, out, _ = run("train --preset paper --task Hopper-v5 --help", capsys)
    plain = " ".join(out.replace("│", " ").split())
    assert "(default: 1000000)" in plain
    assert "(default: 256 256)" in plain


def test_train_evaluate_inspect(tmp_path, capsys):
    folder = tmp_path / "run"
    sizes = "--steps 40 --random-steps 20 --pretrain-updates 3 --blocks 1 --block-units 4 --actor-hidden 8 8"
    more = "--critic-hidden 8 8 --batch-size 16 --prune-start 21 --final-episodes 1 --eval-episodes 1"
    code, out, _ = run(f"train --task Hopper-v5 --out {folder} {sizes} {more}", capsys)
    assert code == 0
    assert "in Gymnasium" in out
    assert "critic_2" in out
    code, out, _ = run(f"evaluate {folder} --episodes 3 --json", capsys)
    assert code == 0
    found = json.loads(out)["policies"]
    assert len(found) == 1
    assert len(found[0]["returns"]) == 3
    assert found[0]["task"] == "Hopper-v5"
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
