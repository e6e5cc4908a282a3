"""Records of metrics as scalars."""

import math

import pytest

from xinet_jax.telemetry.scalars import KINDS, Scalars, scalars_of

STAMP = {"member": "nu_5_seed_1", "seed": 1, "nu": 5.0, "environment_steps": 3000, "seconds": 7.5}
SEGMENT = STAMP | {
    "iterations_per_second": 400.0,
    "episodes": 2,
    "episode_return": -30.0,
    "episode_length": 1000.0,
    "parameters": 900,
    "parameters_left": 0.75,
    "ofenet_left": 0.5,
    "flops": 1700,
    "units": {"ofenet/state_1": 4, "critic_1/head": 1},
    "bad_transitions": 0,
    "diverged": False,
}
UPDATES = {"auxiliary_loss": 0.1, "critic_loss": 0.2, "actor_loss": 0.3, "temperature": 0.4, "entropy": 0.5}
UPDATES |= {"action_value": 0.6, "theta_held": 0.0, "price": 7.0}
OF_SEGMENT = {
    "rollout/ep_rew_mean": -30.0,
    "rollout/ep_len_mean": 1000.0,
    "rollout/bad_transitions": 0.0,
    "train/diverged": 0.0,
    "pruning/parameters": 900.0,
    "pruning/parameters_left": 0.75,
    "pruning/ofenet_left": 0.5,
    "pruning/flops": 1700.0,
    "pruning/units/ofenet/state_1": 4.0,
    "pruning/units/critic_1/head": 1.0,
    "time/fps": 400.0,
}
OF_UPDATES = {f"train/{name}": value for name, value in UPDATES.items() if name not in ("theta_held", "price")}
OF_UPDATES |= {"pruning/theta_held": 0.0, "pruning/price": 7.0}


@pytest.mark.parametrize(
    ("record", "values"),
    [
        ({"kind": "collect"} | SEGMENT, OF_SEGMENT),
        (
            {"kind": "pretrain"} | SEGMENT | {"auxiliary_loss": 0.1},
            {"pretrain/auxiliary_loss": 0.1, "pretrain/updates_per_second": 400.0},
        ),
        ({"kind": "train"} | SEGMENT | UPDATES, OF_SEGMENT | OF_UPDATES),
        ({"kind": "evaluation"} | STAMP | {"return": 4.0, "returns": [3.0, 5.0]}, {"eval/return": 4.0}),
        ({"kind": "gymnasium"} | STAMP | {"return": 4.0, "returns": [3.0, 5.0]}, {"final/return": 4.0}),
    ],
)
def test_scalars_have_their_usual_names(record, values):
    member, step, order, seconds, scalars = scalars_of(record)
    assert (member, step, seconds) == ("nu_5_seed_1", 3000, 7.5)
    assert 0 <= order < KINDS
    assert scalars == values


def test_a_compaction_is_about_every_member():
    record = {"kind": "compaction", "environment_steps": 30, "seconds": 7.5, "flops_of_arrays_left": 0.25}
    record |= {"compaction_seconds": 4.0, "iterations_per_second_before": 1.0, "iterations_per_second": None}
    scalars = {"compaction/flops_of_arrays_left": 0.25, "compaction/seconds": 4.0}
    assert scalars_of(record) == Scalars(None, 30, 3, 7.5, scalars)
    assert scalars_of({"kind": "checkpoint", "environment_steps": 30, "bytes": 8}) is None


def test_what_is_not_finite_is_left_out_live_and_from_a_file_alike():
    live = (
        {"kind": "train"} | SEGMENT | UPDATES | {"episode_return": None, "critic_loss": math.nan, "entropy": math.inf}
    )
    read = live | {"critic_loss": None, "entropy": None}
    assert scalars_of(live) == scalars_of(read)
    missing = (OF_SEGMENT | OF_UPDATES).keys() - scalars_of(live).values.keys()
    assert missing == {"rollout/ep_rew_mean", "train/critic_loss", "train/entropy"}
