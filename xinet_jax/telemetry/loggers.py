"""The loggers of a run, each in a thread of its own: whatever becomes of them, training goes on at its speed."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from xinet_jax.errors import first_line
from xinet_jax.telemetry.json_lines import parse_json_lines
from xinet_jax.telemetry.sinks import Curves, chosen_sinks, draw, open_sink


class Loggers:
    """Hands the records of a run to its loggers. One that fails is told of in one line, and given nothing more.

    Args:
      names: what `--log` takes.
      curves: what to draw curves of.
      metrics: the file of metrics.
      recorded: how much of it was there before this start of the run: what curves begin with [bytes].
      note: prints one line.
    """

    def __init__(self, names: Iterable[str], curves: Curves, metrics: Path, recorded: int, note: Callable[[str], None]):
        self._threads = [_Thread(name, curves, metrics, recorded, note) for name in chosen_sinks(names)]
        for thread in self._threads:
            thread.start()

    def write(self, record: dict[str, Any]) -> None:
        """Takes a record of metrics."""
        for thread in self._threads:
            if thread.is_alive():
                thread.records.put(record)

    def close(self, patience: float = 60.0) -> None:
        """Waits until the loggers have everything, or have had as long as that [s]."""
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.records.put(None)
        for thread in self._threads:
            thread.join(min(_SILENCE, patience))
            if thread.is_alive() and patience > _SILENCE:
                thread.say("takes its time to finish: waiting for it")
            thread.join(max(end - time.monotonic(), 0.0))
            if thread.is_alive():
                thread.tell(f"has not taken everything in {patience:.0f} s")
        self.abandon()

    def abandon(self) -> None:
        """Waits for nothing."""
        self._threads = []


_SILENCE = 2.0  # how long a run waits for loggers without a word [s]


class _Thread(threading.Thread):
    """Opens one logger, hands it records until there is None, and closes it."""

    def __init__(self, name: str, curves: Curves, metrics: Path, recorded: int, note: Callable[[str], None]):
        super().__init__(name=name, daemon=True)
        self.records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._curves, self._metrics, self._recorded, self._note = curves, metrics, recorded, note

    def run(self) -> None:
        try:
            with contextlib.closing(open_sink(self.name, self._curves)) as sink:
                if self._recorded:
                    with self._metrics.open("rb") as file:
                        draw(sink, self._curves, parse_json_lines(file.read(self._recorded).splitlines()))
                draw(sink, self._curves, iter(self.records.get, None))
        except Exception as error:  # of whatever kind: the logger's, the service's, the disk's
            self.tell(f"has failed: {first_line(error)}")

    def say(self, what: str) -> None:
        """Prints a line about the logger."""
        self._note(f"{self.name} {what}")

    def tell(self, trouble: str) -> None:
        """Prints what is wrong with the logger, and how to do without."""
        again = f"xinet log {self._curves.folder} --to {self.name}"
        self._note(f"{self.name} {trouble}; nothing is lost, and when that is mended, after the run: {again}")
