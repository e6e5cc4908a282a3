"""Curves for TensorBoard: `tensorboard --logdir RUN/tensorboard`.

The files are written by TensorBoard's own package, with the modules that PyTorch's writer uses too. That needs neither
TensorFlow nor PyTorch. A file is only open while a record is written to it, so that a run may have any number of
members.
"""

import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from xinet_jax.telemetry.scalars import Scalars
from xinet_jax.telemetry.sinks import Curves


class TensorBoard:
    """Writes each member's scalars to event files in `tensorboard/MEMBER`.

    Args:
      curves: what to draw curves of. Event files of their members that are there already are replaced.
    """

    def __init__(self, curves: Curves):
        self._began = curves.began
        self._files: dict[str, Path] = {}
        name = f"events.out.tfevents.{int(time.time()):010d}.xinet_jax"  # the newest sorts last
        for member, settings in curves.members.items():
            folder = curves.folder / "tensorboard" / member
            folder.mkdir(parents=True, exist_ok=True)
            for older in folder.glob("events.out.tfevents.*"):
                older.unlink()
            self._files[member] = folder / name
            values = {setting: _plain(value) for setting, value in settings.items()}
            self._write(member, self._began, file_version="brain.Event:2")
            # What a TensorBoard that is running has read of the older file, it forgets.
            self._write(member, self._began, session_log=SessionLog(status=SessionLog.START))
            self._write(member, self._began, summary=hparams_pb(values))

    def write(self, member: str, scalars: Scalars) -> None:
        """Writes a member's scalars."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.values.items()]
        time_of_record = self._began + scalars.seconds
        self._write(member, time_of_record, step=scalars.step, summary=Summary(value=values))

    def close(self) -> None:
        """Does nothing: everything is written."""

    def _write(self, member: str, wall_time: float, **content: Any) -> None:
        with self._files[member].open("ab") as file:
            RecordWriter(file).write(Event(wall_time=wall_time, **content).SerializeToString())


def _plain(value: Any) -> bool | int | float | str:
    """Returns a setting as TensorBoard takes it."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return "none" if value is None else value
