"""Ends a run in good order when it is interrupted."""

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType


class Abandoned(KeyboardInterrupt):
    """A second signal came before the first was done with. `number` is the signal."""

    def __init__(self, number: int):
        super().__init__(f"abandoned on {signal.Signals(number).name}: nothing more was saved")
        self.number = number


class StopOnSignal:
    """While active, the first SIGINT or SIGTERM is `requested`; a second one raises `Abandoned`.

    A file tells the other processes of a run, and tells of a signal that came to one of them. Outside the main thread,
    where Python allows no handlers, signals are left alone.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._own, self._told = file, None, False
        self.abandoned: Abandoned | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> signal.Signals | None:
        """The signal that ends the run, if one came to any of its processes."""
        if self._own:
            if not self._told:  # not by the handler, which may come in the midst of anything
                self._told = True
                with contextlib.suppress(OSError):
                    aside = self._file.with_name(f"{self._file.name}.new")
                    aside.write_text(self._own.name)
                    aside.replace(self._file)
        elif self._file.exists():
            name = self._file.read_text()
            return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM
        return self._own

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._own is not None:
            self.abandoned = Abandoned(number)
            raise self.abandoned
        self._own = signal.Signals(number)
        # Not through Python's streams: the signal may have come in the midst of a write.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._own.name}: stopping soon; once more to stop now and save nothing\n".encode())
