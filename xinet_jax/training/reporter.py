"""Keeps the report in a run's folder new while the run goes on."""

import time
from collections.abc import Callable
from pathlib import Path

from xinet_jax.errors import UserError, first_line
from xinet_jax.training.run_folder import REPORT_FILE

_SHARE = 0.01  # of the time between two renewals that one may take at most


class Reporter:
    """Writes the report of a run. What stands in the way is told of once, and ends nothing.

    Args:
      folder: the run folder.
      enabled: whether to write anything.
      note: prints one line.
    """

    def __init__(self, folder: Path, enabled: bool, note: Callable[[str], None]) -> None:
        self._folder, self._enabled, self._note = folder, enabled, note
        self._next = time.monotonic()  # when it may be renewed
        self._told = False  # of what stands in the way

    def renew(self) -> None:
        """Writes the report of a run that goes on, unless the last was too recent for what it took to write."""
        if time.monotonic() >= self._next:
            self._write(running=True)

    def finish(self) -> None:
        """Writes the report of a run that has ended."""
        self._write(running=False)

    def _write(self, running: bool) -> None:
        if not self._enabled:
            return
        before = time.monotonic()
        try:
            # Imported when it is needed: a mistake in it is no reason not to train.
            from xinet_jax.report.record import read_run
            from xinet_jax.report.writing import write_report

            write_report([read_run(self._folder, running)], self._folder / REPORT_FILE)
        except Exception as error:  # of whatever kind
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {first_line(error)}"
            if not self._told:
                self._note(f"no report is written: {reason}")
            self._told = True
        now = time.monotonic()
        self._next = now + (now - before) / _SHARE
