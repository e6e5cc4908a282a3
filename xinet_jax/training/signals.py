"""Ends a run in good order when it is interrupted."""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 1.0  # between a second signal and the end of a process that does not come to hear it [s]


class Abandoned(KeyboardInterrupt):
    """A second signal came before the first was done with. `number` is the signal."""

    def __init__(self, number: int):
        super().__init__(f"abandoned on {signal.Signals(number).name}: nothing more was saved")
        self.number = number


class StopOnSignal:
    """While active, the first SIGINT or SIGTERM is `requested`; a second one raises `Abandoned`.

    Python's handlers wait while the main thread compiles a program, which can take a minute. So another thread answers
    a signal at once, and ends the process if a second one is not heard within a second (but not Python's prompt or a
    notebook).

    A file tells the other processes of a run, and tells of a signal that came to one of them. Outside the main thread,
    where Python allows no handlers, signals are left alone.

    Attributes:
      compiling: whether the run is waiting for a compiler, which is what a signal's answer says.
      abandoned: the error that a second signal raised.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._signal, self._written = file, None, False
        self.compiling = False
        self.abandoned: Abandoned | None = None
        self._heard = threading.Event()  # set once a second signal has raised its error
        self._previous: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None
        self._previous_pipe = -1

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._previous_pipe = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            threading.Thread(target=self._answer, args=(self._pipe[0],), name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pipe:
            signal.set_wakeup_fd(self._previous_pipe)
            os.close(self._pipe[1])  # the thread that reads ends with it
            self._pipe = None

    @property
    def requested(self) -> signal.Signals | None:
        """The signal that ends the run, if one came to any of its processes."""
        if self._signal:
            if not self._written:  # not by the handler, which may come in the midst of anything
                self._written = True
                with contextlib.suppress(OSError):
                    aside = self._file.with_name(f"{self._file.name}.new")
                    aside.write_text(self._signal.name)
                    aside.replace(self._file)
        elif self._file.exists():
            name = self._file.read_text()
            return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM
        return self._signal

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self.abandoned = Abandoned(number)
            self._heard.set()
            raise self.abandoned
        self._signal = signal.Signals(number)

    def _answer(self, reading: int) -> None:
        """Answers every signal, whatever the main thread is doing. Runs in a thread, until the pipe is closed."""
        count = 0
        while byte := os.read(reading, 1):
            if self._previous_pipe != -1:  # somebody else's, such as an event loop's
                with contextlib.suppress(OSError):
                    os.write(self._previous_pipe, byte)
            if byte[0] not in _SIGNALS:
                continue
            count, name = count + 1, signal.Signals(byte[0]).name
            if count == 1:
                doing = "compiling; will stop when that is done" if self.compiling else "stopping soon"
                _write(f"\n{name}: {doing}; once more to stop now and save nothing\n")
            elif not self._heard.wait(_PATIENCE) and not _interactive():
                _write(f"xinet: {Abandoned(byte[0])}\n")
                os._exit(128 + byte[0])
        os.close(reading)


def _write(text: str) -> None:
    """Writes to standard error, not through Python's streams: the signal may have come in the midst of a write."""
    if sys.__stderr__ is not None:  # else the process was started without, and 2 may be another file
        with contextlib.suppress(OSError):
            os.write(2, text.encode())


def _interactive() -> bool:
    """Returns whether somebody works in this process: at Python's prompt, or in a notebook."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
