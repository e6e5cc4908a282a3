"""Curves for TensorBoard, read back by its own reader."""

import pytest
from helpers import drawn

from xinet_jax.telemetry.scalars import Scalars
from xinet_jax.telemetry.sinks import Curves

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from xinet_jax.telemetry.tensorboard import TensorBoard

SETTINGS = {"nu": 5.0, "seed": 1, "task": "Hopper-v5", "compact": None, "actor_hidden": (8, 7), "actor_speaks": True}


def scalars(step, **values):
    return Scalars("seed_1", step, 0, step / 10, values)


def test_each_member_has_curves_and_hyper_parameters(tmp_path):
    sink = TensorBoard(Curves(tmp_path, {"seed_0": SETTINGS, "seed_1": SETTINGS}, 1000.0))
    for step in (10, 20):
        sink.write("seed_1", scalars(step, a=step / 2, b=3.0))
    sink.close()
    assert drawn(tmp_path) == {"seed_0": {}, "seed_1": {"a": [(10, 5.0), (20, 10.0)], "b": [(10, 3.0), (20, 3.0)]}}
    reader = EventAccumulator(str(tmp_path / "tensorboard" / "seed_1"))
    reader.Reload()
    assert [event.wall_time for event in reader.Scalars("a")] == [1001.0, 1002.0]
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert {name: value.WhichOneof("kind") for name, value in start.hparams.items()} == {
        "nu": "number_value",
        "seed": "number_value",
        "task": "string_value",
        "compact": "string_value",
        "actor_hidden": "string_value",
        "actor_speaks": "bool_value",
    }
    assert start.hparams["actor_hidden"].string_value == "8 7"


def test_curves_that_begin_anew_replace_older_ones_of_the_same_members_also_in_a_reader_that_is_running(tmp_path):
    for member in ("seed_0", "seed_1"):
        sink = TensorBoard(Curves(tmp_path, {member: {}}, 0.0))
        sink.write(member, scalars(10, a=1.0))
        sink.write(member, scalars(20, a=2.0))
    reader = EventAccumulator(str(tmp_path / "tensorboard" / "seed_1"))
    reader.Reload()
    sink = TensorBoard(Curves(tmp_path, {"seed_1": {}}, 0.0))
    for step, value in ((10, 1.0), (15, 1.5), (20, 2.0)):
        sink.write("seed_1", scalars(step, a=value))
    assert drawn(tmp_path)["seed_0"] == {"a": [(10, 1.0), (20, 2.0)]}
    assert drawn(tmp_path)["seed_1"] == {"a": [(10, 1.0), (15, 1.5), (20, 2.0)]}
    assert len(list((tmp_path / "tensorboard" / "seed_1").iterdir())) == 1
