"""Runs that are interrupted go on as if they had not been: to the last bit, across a compaction, from any point."""

import contextlib
import dataclasses
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from helpers import SMALLEST, drawn, replaced, tiny_config

import xinet_jax
from xinet_jax.cli import main
from xinet_jax.config import load_config
from xinet_jax.errors import UserError
from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.training import checkpoints, run_folder
from xinet_jax.training.loop import Loop
from xinet_jax.training.pace import Pace

OPTIONS = "--task Hopper-v5 --blocks 1 --block-units 5 --actor-hidden 7 --critic-hidden 8 --batch-size 16"
OPTIONS += " --steps 160 --random-steps 20"
OPTIONS += " --pretrain-updates 5 --eval-every 40 --log-every 20 --eval-episodes 1 --final-episodes 1 --prune-stop 70"
OPTIONS += " --prune-start 25 --prune-ramp 0 --theta-every 1 --theta-learning-rate 5e-3 --nu 2000 --width-multiple 1"
OPTIONS += " --checkpoint-every 20 --checkpoint-keep 20 --seeds 2 --log tensorboard --actor-waits 13"

# Every chance to compact is taken, so that it does not depend on the clock. Chunks are short, for signals to be heard.
SCRIPT = """
import sys
from xinet_jax.training.pace import Pace
from xinet_jax.training.savings import Ledger
Ledger.is_due = lambda ledger, saving_per_step, steps_left, last=False: saving_per_step > 0 and steps_left > 0
Pace.chunk = lambda pace, most: min(most, 5)
from xinet_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(*options):
    return [sys.executable, "-c", SCRIPT, "train", *map(str, options)]


def train(*options):
    done = subprocess.run(command(*options), capture_output=True, text=True, check=False)
    return done.returncode, " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    code, said = train("--out", folder, *OPTIONS.split())
    assert code == 0, said
    kinds = [row["kind"] for row in rows(folder)]
    last = len(kinds) - 1 - kinds[::-1].index("checkpoint")
    assert kinds.index("compaction") < last, "it must go across a compaction"
    arrays = checkpoints.read_header(folder / "checkpoints" / "all" / "80")["arrays"]
    assert "agent.waiting" in arrays, "actors that wait are in checkpoints"
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps_kept(folder):
    return [int(path.name) for path in checkpoints.candidates(folder / "checkpoints" / "all")]


def final(folder):
    """Returns the checksums of all arrays at the end."""
    header = checkpoints.read_header(folder / "checkpoints" / "all" / "160")
    return header["arrays"], header["widths"]


def assert_the_same(folder, whole):
    assert final(folder) == final(whole)
    times = (
        "seconds",
        "iterations_per_second",
        "compaction_seconds",
        "iterations_per_second_before",
    )
    ours, theirs = (
        [{k: v for k, v in row.items() if k not in times} for row in rows(run) if row["kind"] != "compaction"]
        for run in (folder, whole)
    )
    assert ours == theirs
    assert learnt(folder) == learnt(whole)
    observation = np.random.default_rng(0).normal(size=(20, 11))
    for seed in (0, 1):
        one, two = (xinet_jax.load_policy(run / "policy" / f"seed_{seed}") for run in (folder, whole))
        assert one.structure == two.structure
        np.testing.assert_array_equal(one(observation), two(observation))


def learnt(folder):
    """Returns the curves of a run but for times, each with one value at a step."""
    curves = {
        (member, name): points
        for member, of_member in drawn(folder).items()
        for name, points in of_member.items()
        if name.split("/")[0] not in ("time", "compaction", "pretrain")
    }
    assert {name for _, name in curves} >= {"train/critic_loss", "eval/return", "pruning/parameters_left"}
    for points in curves.values():
        assert len(dict(points)) == len(points)
    return curves


@pytest.mark.parametrize("step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (20, 60)), 80])
def test_a_resumed_run_is_the_whole_run_to_the_last_bit(whole, tmp_path, capsys, step):
    """From before the first checkpoint, before gates settle and arrays shrink, and after."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for later in steps_kept(folder):
        if later > step:
            shutil.rmtree(folder / "checkpoints" / "all" / str(later))
    (folder / "policy" / "seed_0" / "policy.json").write_text("what was saved later is made again")
    code, said = train("--resume", folder)
    assert code == 0, said
    start = "beginning anew" if step == 20 else f"going on from step {step}"
    assert start in said
    assert_the_same(folder, whole)
    code, said = refused(capsys, "--resume", folder)
    assert code == 2
    assert "is trained to 160 steps already" in said
    code, said = train("--resume", folder, "--steps", "180")
    assert code == 0, said
    assert steps_kept(folder)[0] == 180


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_a_checkpoint_and_says_how_to_go_on(whole, tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(command("--out", folder, *OPTIONS.split()), stderr=subprocess.PIPE, text=True)
    while not ((folder / "metrics.jsonl").exists() and '"kind": "train"' in (folder / "metrics.jsonl").read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"xinet train --resume {folder}" in " ".join(said.split())
    code, said = train("--resume", folder)
    assert code == 0, said
    assert final(folder) == final(whole), "whatever step the signal came at"


def kill_again_and_again(folder, times, seed):
    """Kills a run at random times, and resumes it, until it has been killed often enough; then lets it end."""
    chance, options = random.Random(seed), ("--out", folder, *OPTIONS.split())
    for _ in range(times):
        process = subprocess.Popen(command(*options), stderr=subprocess.PIPE, text=True)
        while not (folder / "config.yaml").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        before = max(steps_kept(folder), default=0)
        try:
            # Some soon, some late: while reading, compiling, training, writing, compacting.
            _, said = process.communicate(timeout=chance.uniform(1.0, 12.0))
            assert process.returncode in (0, 2), said  # it came to its end
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        assert max(steps_kept(folder), default=0) >= before, "nothing that was kept is lost"
        options = ("--resume", folder)
    code, said = train("--resume", folder)
    assert code == 0 or "is trained to 160 steps already" in said, said


@pytest.mark.slow
def test_a_run_survives_being_killed(whole, tmp_path):
    kill_again_and_again(tmp_path / "run", times=2, seed=0)
    assert_the_same(tmp_path / "run", whole)


@pytest.mark.slow
def test_a_run_survives_being_killed_fifty_times(whole, tmp_path):
    for attempt in range(10):
        kill_again_and_again(tmp_path / str(attempt), times=5, seed=1 + attempt)
        assert_the_same(tmp_path / str(attempt), whole)


def arrays_file(path):
    return max((file for file in path.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)


def flip(path):
    content = bytearray(arrays_file(path).read_bytes())
    content[len(content) // 2] ^= 1
    arrays_file(path).write_bytes(content)


def truncate(path):
    os.truncate(arrays_file(path), arrays_file(path).stat().st_size // 2)


def remove(path):
    arrays_file(path).unlink()


def cut_description(path):
    (path / "about" / "metadata").write_text("{")


def falsify_description(path):
    file = path / "about" / "metadata"
    file.write_text(file.read_text().replace('"position": 80', '"position": 81'))


@pytest.mark.slow
def test_broken_checkpoints_are_named_and_the_one_before_is_used(whole, tmp_path, capsys):
    folder = tmp_path / "a [b] c"  # Orbax would take brackets for a pattern
    shutil.copytree(whole, folder)
    kept = folder / "checkpoints" / "all"
    harms = {160: truncate, 140: flip, 120: remove, 100: cut_description, 80: falsify_description}
    for step, harm in harms.items():
        harm(kept / str(step))
    code, said = train("--resume", folder)
    assert code == 0, said
    for step in harms:
        assert f"damaged checkpoint {kept / str(step)}".replace(" ", "") in said.replace(" ", "")
    assert "going on from step 60" in said
    assert_the_same(folder, whole)
    assert set(steps_kept(folder)) >= set(harms), "new ones are written in the place of those"
    for step in steps_kept(folder):
        remove(kept / str(step))
    code, said = refused(capsys, "--resume", folder, "--steps", "200")
    assert code == 2
    assert "can be used" in said


def refused(capsys, *options):
    """Returns what the command says that cannot start, in this process."""
    code = main(["train", *map(str, options)])
    return code, " ".join(capsys.readouterr().err.split())


def test_what_was_learnt_with_cannot_be_changed(whole, capsys):
    before = (whole / "metrics.jsonl").read_bytes()
    for options, words in (
        (["--tau", "0.1"], "tau is 0.005 in the run and cannot be changed to 0.1 when it is resumed"),
        (["--seeds", "3"], "seeds is 2 in the run and cannot be changed to 3"),
        (["--out", "elsewhere"], "a run is resumed in its own folder"),
        (["--steps", "100"], "is trained to 160 steps already: choose more by steps"),
    ):
        code, said = refused(capsys, "--resume", whole, *options)
        assert (code, words in said) == (2, True), said
    assert (whole / "metrics.jsonl").read_bytes() == before
    code, said = refused(capsys, "--resume", whole / "nothing")
    assert code == 2
    assert "cannot read configuration" in said


def test_a_run_folder_in_use_is_refused(whole):
    with run_folder.lock(whole):
        code, said = train("--resume", whole, "--steps", "200")
        assert code == 2
        assert "is in use: another process trains in it" in said
        with pytest.raises(UserError, match="is in use"):
            xinet_jax.train(tiny_config(out=str(whole), overwrite=True), progress=False)
    assert steps_kept(whole), "nothing was cleared"


def test_half_a_line_of_metrics_is_taken_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    lines = JsonLines(file)
    lines.write({"a": 3})
    lines.close()
    assert file.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'
    lines = JsonLines(file, keep=9)
    assert lines.size == 9
    lines.close()
    assert file.read_text() == '{"a": 1}\n'


def test_metrics_wait_while_a_disk_is_full(tmp_path):
    said = []
    lines = JsonLines(tmp_path / "metrics.jsonl", tell=said.append)
    lines.write({"a": 1})
    disk, room = lines._file, 5

    class Full:
        closed = False

        def write(self, content):
            return disk.write(content[:room])

        def __getattr__(self, name):
            return getattr(disk, name)

    lines._file = Full()
    lines.write({"a": 2})
    lines.write({"a": 3})
    why = "No space left on device; they wait until it can be done"
    assert said == [f"cannot write metrics to {tmp_path / 'metrics.jsonl'}: {why}"]
    lines._file = disk
    lines.write({"a": 4})
    assert said[1:] == ["metrics are written again"]
    lines.close()
    assert [json.loads(line)["a"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


@contextlib.contextmanager
def small_disk(folder):
    """Yields what fills a disk of 4 MB, mounted at a folder, up, and what makes room again; or `small_files`."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:  # no right to
        with small_files(folder) as both:
            yield both
        return
    try:
        yield (
            lambda _: subprocess.run(f"cat /dev/zero > '{folder}/filler' 2> /dev/null", shell=True, check=False),
            lambda _: (folder / "filler").unlink(),
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def small_files(_):
    """Yields what stops a process from writing more than a few bytes to any file, and what lets it again."""
    kind = resource.RLIMIT_FSIZE
    hard = resource.getrlimit(kind)[1]
    yield (
        lambda process: resource.prlimit(process.pid, kind, (64, hard)),
        lambda process: resource.prlimit(process.pid, kind, (hard, hard)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [small_disk, small_files])
def test_a_full_disk_stops_nothing(tmp_path, trouble):
    """Training goes on, warns once, keeps what was good, and writes again when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    folder, said = disk / "run", []
    options = replaced(OPTIONS, "--steps", "1000000", "--checkpoint-keep", "2", "--eval-every", "1000000")

    def wait_for(what, seconds=300):
        end = time.monotonic() + seconds
        while not what():
            assert process.poll() is None, output()
            assert time.monotonic() < end, output()
            time.sleep(0.05)

    def output():
        return " ".join(" ".join(said).split())

    with trouble(disk) as (fill, make_room):
        process = subprocess.Popen(command("--out", folder, *options), stderr=subprocess.PIPE, text=True)
        listener = threading.Thread(target=lambda: said.extend(process.stderr))
        listener.start()
        try:
            wait_for(lambda: max(steps_kept(folder), default=0) > 100)
            fill(process)
            wait_for(lambda: "cannot write checkpoints" in output())
            good = max(steps_kept(folder))
            checkpoints.read_header(folder / "checkpoints" / "all" / str(good))
            time.sleep(2)
            assert output().count("cannot write checkpoints") == 1
            assert max(steps_kept(folder)) == good, "the last good one is kept"
            make_room(process)
            wait_for(lambda: "checkpoints are written again" in output())
            wait_for(lambda: max(steps_kept(folder)) > good + 100)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=120) == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()
            listener.join()
        assert "Traceback" not in output()
        newest = checkpoints.read_header(folder / "checkpoints" / "all" / str(max(steps_kept(folder))))
        steps = [row["environment_steps"] for row in rows(folder) if row["kind"] == "train"]
        assert steps == sorted(steps)
        assert set(steps) >= set(range(40, newest["position"] + 1, 20)), "no line of metrics is lost"


@pytest.mark.slow
@pytest.mark.parametrize(("chunks", "phase"), [(2, "collect"), (6, "pretrain")])
def test_a_run_goes_on_from_within_any_phase(tmp_path, monkeypatch, chunks, phase):
    few = {"task": "Hopper-v5", "agent": "ofenet", "eval_episodes": 1, "final_episodes": 1, "steps": 40, **SMALLEST}
    monkeypatch.setattr(Pace, "chunk", lambda pace, most: min(most, 4))
    whole = xinet_jax.train(tiny_config(out=str(tmp_path / "whole"), **few), progress=False)
    count, run_chunk = itertools.count(1), Loop._run_chunk

    def stop_after(loop, *arguments):
        if next(count) == chunks:
            loop._stop._signal = signal.SIGTERM
        return run_chunk(loop, *arguments)

    monkeypatch.setattr(Loop, "_run_chunk", stop_after)
    stopped = xinet_jax.train(tiny_config(out=str(tmp_path / "run"), **few), progress=False)
    assert stopped.interrupted == "SIGTERM"
    kept = checkpoints.candidates(stopped.folder / "checkpoints" / "all")
    assert checkpoints.read_header(kept[0])["phase"] == phase
    config = dataclasses.replace(load_config(stopped.folder / "config.yaml"), resume=str(stopped.folder))
    resumed = xinet_jax.train(config, progress=False)
    ends = [checkpoints.read_header(run.folder / "checkpoints" / "all" / "40") for run in (whole, resumed)]
    assert ends[0]["arrays"] == ends[1]["arrays"]


def test_the_newest_and_the_best_are_kept(tmp_path):
    returns = {1: 1.0, 2: 9.0, 3: 2.0, 4: float("nan"), 5: 3.0, 6: None}
    kept = checkpoints.Checkpoints(tmp_path, 2, pytest.fail)
    for step, value in returns.items():
        kept.save(step, {"x": np.full(3, step, np.float32)}, {}, value)
    kept.close()
    assert [path.name for path in checkpoints.candidates(tmp_path)] == ["6", "5", "2"]
    header = checkpoints.read_header(tmp_path / "2")
    state = checkpoints.read_state(tmp_path / "2", header, {"x": jax.ShapeDtypeStruct((3,), np.float32)})
    np.testing.assert_array_equal(state["x"], 2.0)
