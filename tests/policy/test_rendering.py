"""Films of policies: they show a robot that moves, or the command says why not."""

import base64
import importlib.util
import json
import re
import sys
import zlib

import imageio_ffmpeg
import jax
import mujoco
import numpy as np
import pytest
from helpers import tiny_config
from PIL import Image

from xinet_jax import agent as agents
from xinet_jax.cli import main
from xinet_jax.errors import UserError
from xinet_jax.policy import files, policy, rendering
from xinet_jax.policy.viewer import write_page
from xinet_jax.tasks.registry import describe_task, load_task, task_names

CONTROL_STEPS = sorted({describe_task(name)["seconds_per_step"] for name in task_names()} | {0.001, 0.019, 0.025, 0.3})


def make(name, folder, **options):
    task, config = load_task(name, "native", **options), tiny_config(task=name, agent="sac")
    agent = agents.make_agent(config, task.observation_size, task.action_size)
    state = agents.init(agent, agents.make_hyper(config, task.action_size), jax.random.PRNGKey(0))
    about = {"name": "sac", "seed": 0, "nu": None, "settings": {}, "environment_steps": 1}
    files.save_policy(policy.from_agent(agent, state, task=task, **about), folder)
    return str(folder)


@pytest.mark.parametrize("control_step", CONTROL_STEPS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 31, 50, 125, 250, 334, 999, 1000])
def test_films_are_in_real_time_and_have_at_most_50_frames_a_second(control_step, steps):
    every, duration = rendering.interval(control_step), 1000 * control_step * steps
    assert every * control_step >= 0.02 - 1e-9
    assert every == 1 or (every - 1) * control_step < 0.02, "no fewer frames than there can be"
    delays = np.array(rendering.gif_delays(control_step, steps))
    assert (delays % 10 == 0).all(), "which is all that a GIF can hold"
    assert (delays >= 20).all(), "less than which it is shown for 100"
    if duration >= 20:
        assert abs(delays.sum() - duration) <= 5 + 1e-6
        changes, filmed = np.cumsum([0, *delays[:-1]]), 1000 * control_step * every * np.arange(len(delays))
        assert np.abs(changes - filmed).max() <= 5 + 1e-6, "no error adds up"
        left_out = duration - filmed[-1] - 1000 * control_step * every
        assert left_out < 20, "the last frames are there"
    else:
        assert delays.tolist() == [20], "one frame there always is"
    if duration >= 500:
        assert delays.sum() == pytest.approx(duration, rel=0.01)


@pytest.mark.slow
def test_two_seconds_of_hopper_take_two_seconds(tmp_path, capsys):
    """Its control step is 0.008 s: of a whole number of them no delay of a GIF can be made."""
    made, size = make("Hopper-v5", tmp_path / "policy", terminate_when_unhealthy=False), ("--width", "32")
    size += ("--height", "32", "--seconds", "2")
    assert main(["render", made, "--out", str(tmp_path / "film.gif"), *size]) == 0
    assert capsys.readouterr().out.split()[-2] == "83", "the 84th would be shown for 0.008 s"
    with Image.open(tmp_path / "film.gif") as film:
        delays = []
        for index in range(film.n_frames):
            film.seek(index)
            delays.append(film.info["duration"])
    assert sum(delays) == pytest.approx(2000, rel=0.01)
    assert min(delays) >= 20
    assert main(["render", made, "--out", str(tmp_path / "film.mp4"), *size]) == 0
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))
    assert seconds == pytest.approx(2.0, rel=0.01)
    assert count / seconds <= 50


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "InvertedPendulum-v5"])
def test_a_film_shows_a_robot_that_moves(name, tmp_path, capsys):
    made, out = make(name, tmp_path / "policy"), tmp_path / "film.gif"
    size = ("--width", "96", "--height", "64", "--seconds", "0.5")
    assert main(["render", made, "--out", str(out), *size]) == 0
    count = int(capsys.readouterr().out.split()[-2])
    with Image.open(out) as film:
        assert film.n_frames == count >= 3
        frames = []
        for index in range(count):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB"), float))
    assert frames[0].shape == (64, 96, 3)
    assert frames[0].std() > 4, "there is something to see"
    assert np.abs(frames[-1] - frames[0]).max() > 20, "it moves"
    assert main(["render", made, "--out", str(out.with_suffix(".mp4")), *size]) == 0
    assert out.with_suffix(".mp4").read_bytes()[4:8] == b"ftyp"


def test_a_page_shows_a_robot_that_moves(tmp_path, capsys, monkeypatch):
    made, out = make("HalfCheetah-v5", tmp_path / "policy"), tmp_path / "page.html"
    assert main(["render", made, "--out", str(out), "--seconds", "0.5"]) == 0
    assert capsys.readouterr().out.split()[-2] == "10"
    packed = re.search(r'var system = "([^"]+)"', out.read_text()).group(1)
    shown = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert shown["opt"]["timestep"] == pytest.approx(0.05)
    assert set(shown["geoms"]) == {"world", "torso", "bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"}
    places = np.array([pose["pos"] for pose in shown["states"]["x"]])
    assert places.shape == (10, 7, 3)
    assert np.abs(places[-1] - places[0]).max() > 0.01, "it moves"

    assert main(["render", made, "--out", str(out), "--seconds", "0.001"]) == 0
    assert "1 frame\n" in capsys.readouterr().out
    assert main(["render", made, "--out", str(out), "--width", "100"]) == 2
    assert "width and height are for pictures" in capsys.readouterr().err
    ellipsoid = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body><freejoint/><geom type="ellipsoid" size="1 2 3"/></body></worldbody></mujoco>'
    )
    with pytest.raises(UserError, match=r"viewer cannot show this model .*: choose a \.gif"):
        write_page(out, ellipsoid, [], 50.0)

    monkeypatch.setitem(sys.modules, "brax.base", None)
    assert main(["render", made, "--out", str(out), "--seconds", "0.1"]) == 2
    assert "HTML needs the extra 'brax'" in capsys.readouterr().err


def test_what_cannot_be_filmed_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    made = make("InvertedPendulum-v5", tmp_path / "policy")
    for arguments, message in (
        (["--out", "film.avi"], "--out must end in .gif, .mp4 or .html, not '.avi'"),
        (["--out", str(tmp_path / "no" / "film.gif"), "--seconds", "0.1"], "cannot write"),
        (["--width", "0"], "width and height must be from 16 to 4096 pixels"),
        (["--seconds", "0"], "seconds must be above 0"),
        (["--seed", "-1"], "seed must be from 0 to 2147483647, not -1"),
        (["--seed", str(2**70)], "seed must be from 0 to 2147483647"),
    ):
        assert main(["render", made, *arguments]) == 2
        said = capsys.readouterr().err.strip()
        assert message in said
        assert "\n" not in said

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name))
    with pytest.raises(UserError, match="MP4 needs the extra 'video'"):
        rendering.render(files.load_policy(made), tmp_path / "film.mp4")

    monkeypatch.undo()
    (tmp_path / "film.mp4").write_text("the film of before")

    def broken(*_):
        raise RuntimeError("no display")

    monkeypatch.setattr(rendering.mujoco, "Renderer", broken)
    with pytest.raises(UserError, match=r"nothing can be drawn by EGL here \(no display\)"):
        rendering.render(files.load_policy(made), tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_text() == "the film of before"
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match="it is a folder"):
        rendering.render(files.load_policy(made), tmp_path / "folder.mp4")
