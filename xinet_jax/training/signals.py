"""Ends a run in good order when it is interrupted."""

import os
import signal
import threading
from types import FrameType, TracebackType


class Abandoned(KeyboardInterrupt):
    """A second signal came before the first was done with. `number` is the signal."""

    def __init__(self, number: int):
        super().__init__(f"abandoned on {signal.Signals(number).name}: nothing more was saved")
        self.number = number


class StopOnSignal:
    """While active, the first SIGINT or SIGTERM sets `requested`; a second one raises `Abandoned`.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            self.abandoned = Abandoned(number)
            raise self.abandoned
        self.requested = signal.Signals(number)
        # Not through Python's streams: the signal may have come in the midst of a write.
        os.write(2, f"\n{self.requested.name}: stopping soon; once more to stop now and save nothing\n".encode())
