"""Members on several devices are what they are on one. In processes of their own: devices are fixed when JAX starts."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from xinet_jax.errors import UserError
from xinet_jax.training import devices

SIZES = "--blocks 2 --block-units 5 --actor-hidden 7 6 --critic-hidden 8 7 --batch-size 16 --steps 60 --random-steps 20"
SIZES += " --pretrain-updates 5 --eval-every 30 --log-every 20 --eval-episodes 1 --final-episodes 1 --prune-stop 45"
SIZES += " --prune-start 25 --prune-ramp 0 --theta-every 1 --theta-learning-rate 5e-3 --nu 2000 --width-multiple 1"


def train(folder, *options):
    command = [sys.executable, "-m", "xinet_jax.cli", "train", "--out", str(folder), *SIZES.split(), *options]
    environment = os.environ | {"XLA_FLAGS": ""}  # with LLVM's optimisation, as users' programs are
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_members_are_the_same_on_one_device_and_on_two(tmp_path):
    """Three members on two devices: one of them carries padding. Ends before rounding has grown."""
    said, found = {}, {}
    for count in (1, 2):
        said[count], found[count] = train(tmp_path / str(count), "--seeds", "3", "--devices", str(count))
    assert "2 cpu devices" in " ".join(said[2].split())
    assert "2 cpu devices" not in " ".join(said[1].split())
    assert len(found[1]) == len(found[2])
    for ours, theirs in zip(found[1], found[2], strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours["kind"], ours.get("seed")) == (theirs["kind"], theirs.get("seed"))
        if ours["kind"] == "train":
            assert ours["parameters"] == theirs["parameters"]
            for name in ("auxiliary_loss", "critic_loss", "actor_loss", "entropy", "action_value"):
                np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-2, atol=1e-3, err_msg=name)
    last = [row for row in found[2] if row["kind"] == "train"][-3:]
    assert [row["seed"] for row in last] == [0, 1, 2]
    assert all(row["parameters_left"] < 1 for row in last)


def test_more_devices_than_there_are_is_told():
    with pytest.raises(UserError, match="devices must be at most 1, the number of CPU devices here, not 3"):
        devices.make_mesh(3, 5)
    assert devices.make_mesh(3, 1).size == 1, "one member needs one device, however many may be used"


def test_cores_are_claimed_once_and_only_for_several_members(monkeypatch):
    """Where JAX runs already, what is claimed has no effect and does no harm."""
    jax.devices()
    monkeypatch.setenv("XLA_FLAGS", "--xla_example")
    devices.claim_cores(None, 1)
    devices.claim_cores(2, 2)
    assert os.environ["XLA_FLAGS"] == "--xla_example"
