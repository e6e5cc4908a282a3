"""What a checkpoint says of itself, in JSON."""

import json

import pytest

from xinet_jax.networks.modules import Shape
from xinet_jax.training.description import Description
from xinet_jax.training.phases import Position
from xinet_jax.training.savings import Ledger

DESCRIPTION = Description(
    position=Position("pretrain", 3),
    environment_steps=20,
    seconds=1.5,
    members=("seed_0", "seed_1"),
    widths=Shape(17, 6, 17, (5, 0), (5, 4), (7, 6), (8, 7)),
    settled=False,
    capacity=60,
    filled=20,
    observations=23,
    metrics_bytes=1000,
    ledger=Ledger(2.0, 0.5, 1.25),
    newest_return=None,
)


def test_a_description_is_written_and_read_again():
    content = json.loads(json.dumps(DESCRIPTION.to_json()))
    assert Description.from_json(content | {"format": "of the file, not of the run"}) == DESCRIPTION


def test_the_format_on_disk_stays_as_it_is():
    assert DESCRIPTION.to_json() == {
        "phase": "pretrain",
        "position": 3,
        "environment_steps": 20,
        "seconds": 1.5,
        "members": ["seed_0", "seed_1"],
        "widths": {
            "observation": 17,
            "action": 6,
            "predicted": 17,
            "state_blocks": (5, 0),
            "action_blocks": (5, 4),
            "actor_hidden": (7, 6),
            "critic_hidden": (8, 7),
        },
        "settled": False,
        "capacity": 60,
        "filled": 20,
        "observations": 23,
        "metrics_bytes": 1000,
        "ledger": {"compile_seconds": 2.0, "lost_seconds": 0.5, "realised": 1.25},
        "newest_return": None,
    }
    assert list(DESCRIPTION.to_json())[:3] == ["phase", "position", "environment_steps"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phase": "sleep"}, "phase must be one of collect, pretrain, train, not 'sleep'"),
        ({"phase": ["train"]}, "phase must be one of"),
        ({"position": -1}, "position must be a whole number, 0 or more, not -1"),
        ({"position": True}, "position must be a whole number"),
        ({"environment_steps": 2.0}, "environment_steps must be a whole number"),
        ({"seconds": None}, "seconds must be a number, 0 or more, not None"),
        ({"seconds": 10**400}, "seconds must be a number"),
        ({"members": "seed_0"}, "members must be a list of names, not 'seed_0'"),
        ({"settled": 1}, "settled must be true or false, not 1"),
        ({"filled": 61}, "filled must be at most capacity, not 61"),
        ({"metrics_bytes": None}, "metrics_bytes must be a whole number"),
        ({"ledger": {}}, "ledger's lost_seconds must be a number"),
        ({"newest_return": "high"}, "newest_return must be a number or null, not 'high'"),
        ({"widths": []}, "widths must be the sizes of networks"),
    ],
)
def test_what_is_no_description_is_refused_with_a_reason(change, reason):
    content = json.loads(json.dumps(DESCRIPTION.to_json())) | change
    with pytest.raises(ValueError, match=reason):
        Description.from_json(content)


@pytest.mark.parametrize(
    "change", [{"actor_hidden": 7}, {"actor_hidden": [7, -1]}, {"observation": [17]}, {"depth": 3}, {"action": None}]
)
def test_widths_that_are_no_sizes_are_refused(change):
    content = json.loads(json.dumps(DESCRIPTION.to_json()))
    with pytest.raises(ValueError, match="widths"):
        Description.from_json(content | {"widths": content["widths"] | change})


def test_an_entry_that_is_missing_is_named():
    content = DESCRIPTION.to_json()
    del content["capacity"]
    with pytest.raises(ValueError, match="capacity must be a whole number, 0 or more, not None"):
        Description.from_json(content)
