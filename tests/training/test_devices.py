"""Members on several devices, or in several processes, are what they are on one device.

In processes of their own: devices are fixed when JAX starts.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import drawn, replaced

import xinet_jax
from xinet_jax.errors import UserError
from xinet_jax.training import devices
from xinet_jax.training import processes as of_run
from xinet_jax.training.results import read_records

# Swimmer touches nothing: contacts would make rounding hundreds of times as large.
SIZES = "--task Swimmer-v5 --blocks 1 --block-units 5 --actor-hidden 7 --critic-hidden 8 --batch-size 16"
SIZES += " --steps 60 --random-steps 20"
SIZES += " --pretrain-updates 5 --eval-every 60 --log-every 20 --eval-episodes 1 --final-episodes 1 --prune-stop 45"
SIZES += " --prune-start 25 --prune-ramp 0 --theta-every 1 --theta-learning-rate 5e-3 --nu 2000 --width-multiple 1"


# What the library that connects processes may print of each rank, several at once.
GLOO = re.compile(
    r"\[Gloo\] Rank | is connected to | peer ranks\. |Expected number of connected peer ranks is : |\b\d+\b"
)

# Every chance to compact is taken.
SCRIPT = """
import sys
from xinet_jax.training.savings import Ledger
Ledger.is_due = lambda ledger, saving_per_step, steps_left, last=False: saving_per_step > 0 and steps_left > 0
from xinet_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""


# Without pruning: its programs are compiled sooner.
SAC = "--task Swimmer-v5 --agent sac --actor-hidden 7 --critic-hidden 8 --batch-size 16 --random-steps 20"
SAC += " --eval-episodes 1 --final-episodes 1"


def command(folder, *options, sizes=SIZES):
    return [sys.executable, "-c", SCRIPT, "train", "--out", str(folder), *replaced(sizes, *options)]


def train(folder, *options, sizes=SIZES):
    done = subprocess.run(command(folder, *options, sizes=sizes), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return " ".join(done.stderr.split()), rows


def assert_alike(folders, metrics):
    """Asserts that two runs learnt the same, to what a few dozen steps of physics make of rounding."""
    rows = [[row for row in run if row["kind"] == "train"] for run in metrics]
    assert len(rows[0]) == len(rows[1])
    for ours, theirs in zip(*rows, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("seed", "environment_steps", "parameters"):
            assert ours[name] == theirs[name]
        losses = ("auxiliary_loss",) if "auxiliary_loss" in theirs else ()
        for name in (*losses, "critic_loss", "actor_loss", "entropy", "action_value"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-2, atol=1e-3, err_msg=name)
    observation = np.random.default_rng(0).normal(size=(20, 8))
    one, two = ([xinet_jax.load_policy(folder / "policy" / f"seed_{seed}") for seed in range(3)] for folder in folders)
    assert [policy.structure.layers for policy in one] == [policy.structure.layers for policy in two]
    ours, theirs = (np.array([policy(observation) for policy in policies]) for policies in (one, two))
    np.testing.assert_allclose(ours, theirs, atol=2e-2)
    apart = np.abs(ours[:, None] - theirs).mean(axis=(2, 3))
    same = np.eye(3, dtype=bool)
    assert apart[same].max() < apart[~same].min() / 3, apart


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same three members on one device and on two, of which one then carries padding: folders, words, metrics."""
    folders = {count: tmp_path_factory.mktemp("runs") / str(count) for count in (1, 2)}
    return {
        count: (folder, *train(folder, "--seeds", "3", "--devices", str(count))) for count, folder in folders.items()
    }


@pytest.mark.slow
def test_members_that_prune_are_the_same_on_one_device_and_on_two(runs):
    assert "2 cpu devices" in runs[2][1]
    assert "2 cpu devices" not in runs[1][1]
    assert_alike([runs[1][0], runs[2][0]], [runs[1][2], runs[2][2]])
    for _, _, rows in runs.values():
        assert any(row["kind"] == "compaction" for row in rows)
        last = [row for row in rows if row["kind"] == "train"][-3:]
        assert [row["seed"] for row in last] == [0, 1, 2]
        assert all(row["parameters_left"] < 1 for row in last)


def test_members_are_the_same_on_one_device_and_on_two(tmp_path):
    folders, sizes = [tmp_path / str(count) for count in (1, 2)], f"{SAC} --seeds 3 --steps 60 --log-every 20"
    made = [train(folder, "--devices", folder.name, sizes=f"{sizes} --eval-every 60") for folder in folders]
    said, metrics = zip(*made, strict=True)
    assert ["2 cpu devices" in words for words in said] == [False, True]
    assert_alike(folders, metrics)


@pytest.mark.slow
def test_members_with_widths_of_their_own_are_the_same_on_one_device_and_on_two(runs, tmp_path):
    small = ["--agent", "small", "--widths-from", str(runs[1][0]), "--seeds", "3"]
    folders = [tmp_path / str(count) for count in (1, 2)]
    metrics = [train(folder, *small, "--devices", folder.name)[1] for folder in folders]
    assert_alike(folders, metrics)


def start_processes(folder, *options, count=2, sizes=True):
    """Starts processes that share a run's members."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = []
    for index in range(count):
        environment = {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(index),
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        line = command(folder, *options) if sizes else [sys.executable, "-c", SCRIPT, "train", *options]
        started.append(subprocess.Popen(line, env=os.environ | environment, **pipes))
    return started


def wait_for(processes):
    try:
        return [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()


def wait_until(holds, processes):
    while not holds():
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        time.sleep(0.1)


def trained_to(file, steps):
    return file.exists() and f'"environment_steps": {steps}' in file.read_text()


@pytest.mark.slow
def test_members_are_the_same_in_two_processes(runs, tmp_path):
    folder = tmp_path / "run"
    said = wait_for(processes := start_processes(folder, "--seeds", "3", "--log", "tensorboard"))
    assert [process.returncode for process in processes] == [0, 0], said
    written = ["checkpoints", "config.yaml", "lock", "metrics-1.jsonl", "metrics.jsonl", "policy"]
    written += ["report.html", "starts.jsonl", "tensorboard"]
    assert sorted(path.name for path in folder.iterdir()) == written
    rows = read_records(folder)
    order = lambda row: (row["environment_steps"], row["seed"])  # noqa: E731
    members = sorted((row for row in rows if row["kind"] == "train"), key=order)
    assert_alike([runs[1][0], folder], [runs[1][2], members])
    assert "shared by 2 processes" in said[0][1]
    assert "all " in said[0][0], "the first process prints the tables of all members"
    assert GLOO.sub("", said[1][0]).strip() == "", "the others leave that to it"
    # Each process has checkpoints of its own, and goes on from them.
    kept = [sorted((folder / "checkpoints" / f"process_{k}_of_2").iterdir()) for k in (0, 1)]
    assert [path.name for path in kept[0]] == [path.name for path in kept[1]] == ["60"]
    said = wait_for(processes := start_processes(None, "--resume", str(folder), "--steps", "80", sizes=False))
    assert [process.returncode for process in processes] == [0, 0], said
    assert "going on from step 60" in said[0][1]
    later = [row for row in read_records(folder) if row["kind"] == "train" and row["environment_steps"] == 80]
    assert {row["member"] for row in later} == {f"seed_{seed}" for seed in range(3)}
    for member, curves in drawn(folder).items():
        losses = [row for row in read_records(folder) if row["kind"] == "train" and row["member"] == member]
        expected = [(row["environment_steps"], pytest.approx(row["critic_loss"])) for row in losses]
        assert curves["train/critic_loss"] == expected, "each process logs its own members"


LONG = f"{SAC} --seeds 2 --steps 1000000 --log-every 50 --eval-every 1000000"


def test_a_signal_to_one_process_ends_the_run_in_all(tmp_path):
    folder = tmp_path / "run"
    processes = start_processes(None, "--out", str(folder), *LONG.split(), sizes=False)
    wait_until(lambda: all(trained_to(folder / f"metrics{k}.jsonl", 100) for k in ("", "-1")), processes)
    processes[1].send_signal(signal.SIGTERM)
    said = wait_for(processes)
    assert [process.returncode for process in processes] == [143, 143], said
    assert sorted(path.name for path in (folder / "policy").iterdir()) == ["seed_0", "seed_1"]
    assert not (folder / "stopping").exists()


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_own_members_along(tmp_path):
    folder = tmp_path / "run"
    processes = start_processes(None, "--out", str(folder), *LONG.split(), sizes=False)
    wait_until(lambda: all(trained_to(folder / f"metrics{k}.jsonl", 100) for k in ("", "-1")), processes)
    processes[1].kill()
    time.sleep(2)
    processes[0].send_signal(signal.SIGINT)
    (_, words), _ = wait_for(processes)
    assert processes[0].returncode == 130, words
    assert "with it 1 of 2 members" in " ".join(words.split())
    assert [path.name for path in (folder / "policy").iterdir()] == ["seed_0"]


def test_a_mistake_is_told_by_every_process(tmp_path):
    (tmp_path / "run").mkdir()
    said = wait_for(processes := start_processes(tmp_path / "run", "--seeds", "3"))
    assert [process.returncode for process in processes] == [2, 2], said
    assert all("run exists: choose another with --out" in " ".join(words.split()) for _, words in said)
    said = wait_for(processes := start_processes(tmp_path / "other", "--seeds", "1"))
    assert [process.returncode for process in processes] == [2, 2], said
    assert all("2 processes are too many for 1 member" in words for _, words in said)


def test_an_environment_that_says_too_little_is_told(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(UserError, match="JAX_NUM_PROCESSES must be a whole number, not 'two'"):
        of_run.join(True)


def test_more_devices_than_there_are_is_told():
    with pytest.raises(
        UserError, match="devices must be at most 1, the number of CPU devices that JAX was started with, not 3"
    ):
        devices.make_mesh(3, 5)
    assert devices.make_mesh(3, 1).size == 1, "one member needs one device, however many may be used"


def test_cores_are_claimed_once_and_only_for_several_members(monkeypatch):
    """Where JAX runs already, what is claimed has no effect and does no harm."""
    jax.devices()
    monkeypatch.setenv("XLA_FLAGS", "--xla_example")
    devices.claim_cores(None, 1)
    devices.claim_cores(2, 2)
    assert os.environ["XLA_FLAGS"] == "--xla_example"


REWARDS = """
import sys
import numpy as np
from xinet_jax.cli import main
from xinet_jax.training.saver import Saver

def check(saver, setup, state, position, ledger):
    replay, count = state.replay, int(np.asarray(state.replay.stored).min())
    reward, action = np.asarray(replay.reward)[:, :count], np.asarray(replay.action)[:, :count, 0]
    np.testing.assert_allclose(reward, 1.0 + 2.0 * action, rtol=1e-5)
    assert count == 60 and setup.mesh.size == 2 and (action[0] != action[1]).any()
    print("checked")

Saver.save = check
sys.exit(main(sys.argv[1:]))
"""


def test_members_of_one_seed_have_environments_of_their_own_on_two_devices(tmp_path):
    """Their first states are the same. The reward of the environment is the first action, of the same member."""
    options = "--task gymnasium/XinetCounter-v0 --agent sac --learning-rate 1e-2 1e-3 --devices 2 --steps 60"
    options += " --random-steps 20 --eval-every 60 --eval-episodes 1 --final-episodes 1 --checkpoint-every 60"
    options += " --batch-size 16 --actor-hidden 7 --critic-hidden 8 --import tests/tasks/environments.py"
    command = [sys.executable, "-c", REWARDS, "train", "--out", str(tmp_path / "run"), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout
