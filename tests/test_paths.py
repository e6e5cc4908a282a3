"""Whatever a folder may be called, checkpoints and policies are written to it and read again."""

import os
import tempfile

import numpy as np
import pytest
from helpers import tiny_config

import xinet_jax
from xinet_jax.cli import main
from xinet_jax.storage import plain_path
from xinet_jax.training import checkpoints

NAMES = ["e\\y", "a[1]b", "st*r", "wh?t", "{a,b}", "new\nline", "%41 #1", "gs:", "s3:bucket", "ünï", "~", "'\"", "-x"]
NAMES += [os.fsdecode(b"\xff\xfe"), "a" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_are_written_to_any_folder_and_read_again(name, tmp_path, monkeypatch):
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    said, state = [], {"weights": np.arange(6.0).reshape(2, 3)}
    folder = tmp_path / name / "all"
    writer = checkpoints.Checkpoints(folder, keep=2, note=said.append)
    writer.save(10, state, {"phase": "train"}, None)
    writer.save(20, state, {"phase": "train"}, 1.0)
    writer.close()
    assert not said
    newest, _ = checkpoints.candidates(folder)
    header = checkpoints.read_header(newest)
    np.testing.assert_array_equal(checkpoints.read_state(newest, header, state)["weights"], state["weights"])
    assert not list(aside.iterdir()), "nothing stays in the temporary folder"


@pytest.mark.slow
def test_a_run_in_a_folder_with_a_backslash_is_evaluated_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(agent="sac", out="e\\y", final_episodes=1, eval_episodes=1)
    result = xinet_jax.train(config, progress=False)
    assert result.seeds[0].returns is not None
    assert main(["evaluate", "e\\y", "--episodes", "1"]) == 0
    assert main(["train", "--resume", "e\\y", "--steps", "80"]) == 0
    assert "going on from step 60" in " ".join(capsys.readouterr().err.split())


def test_a_plain_path_is_itself(tmp_path):
    folder = tmp_path / "a_b-c.d 1"
    with plain_path(folder) as path:
        assert path == folder


def test_a_temporary_folder_with_brackets_loses_no_policy(tmp_path, monkeypatch):
    (tmp_path / "a[b]").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a[b]"))
    config = tiny_config(agent="sac", out=str(tmp_path / "r*n"), steps=30, final_episodes=1, eval_episodes=1)
    result = xinet_jax.train(config, progress=False)
    assert result.seeds[0].returns is not None
    assert checkpoints.candidates(tmp_path / "r*n" / "checkpoints" / "all")
