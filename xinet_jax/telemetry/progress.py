"""What a run shows while it goes on: a progress bar on a terminal, a line per evaluation elsewhere."""

import contextlib
import math
import time
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, track

from xinet_jax.telemetry.console import FittingConsole

T = TypeVar("T")


class Status(NamedTuple):
    """Where a run stands.

    Attributes:
      phase: random steps, OFENet alone, or training.
      done, total: steps (or updates, for OFENet alone) of this phase's bar.
      episode_return: mean return of the newest evaluation, or of the newest finished episodes before the first.
      parameters_left: share of the dense networks' parameters, mean over seeds, 0 to 1.
      updates_per_second: updates of one seed per second.
      seconds_left: predicted.
      diverged: members that have diverged.
    """

    phase: str
    done: int
    total: int
    episode_return: float | None
    parameters_left: float
    updates_per_second: float | None
    seconds_left: float | None
    diverged: int = 0


def counted(steps: int, doing: str, shown: bool) -> Iterable[int]:
    """Returns the numbers below `steps`; while they are gone through, a bar on standard error, if it is to be shown."""
    return track(range(steps), doing, console=_Stderr(stderr=True), transient=True, disable=not shown)


class _Stderr(FittingConsole):
    """A console that nobody may listen to any more."""

    def on_broken_pipe(self) -> None:
        pass  # rich would end the program


class _Bar:
    """A context manager that shows a bar of rich's, and does without where it cannot be written."""

    _bar: Progress

    def __enter__(self: T) -> T:
        with contextlib.suppress(OSError):
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._bar.stop()


class ProgressDisplay(_Bar):
    """Shows statuses. A context manager; `note` prints a line above the bar.

    What cannot be shown, since a pipe is closed or the disk full that holds a log, is not shown; nothing is raised.
    """

    def __init__(self, enabled: bool = True, console: Console | None = None):
        self._console = console or _Stderr(stderr=True)
        self._enabled = enabled
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=6),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            disable=not (enabled and self._console.is_terminal),
        )
        self._task = self._bar.add_task("", count="", text="", visible=False)
        self._started = time.monotonic()

    def show(self, status: Status) -> None:
        """Moves the bar."""
        with contextlib.suppress(OSError):
            self._bar.update(
                self._task,
                description=status.phase,
                completed=status.done,
                total=status.total,
                count=f"{short(status.done)}/{short(status.total)}",
                text=describe(status),
                visible=True,
            )

    def note(self, text: str) -> None:
        """Prints one line, with the time since the start."""
        if self._enabled:
            clock = duration(time.monotonic() - self._started)
            with contextlib.suppress(OSError):
                self._console.print(f"[dim]{clock}[/dim]  {escape(text)}", highlight=False)


class EpisodesBar(_Bar):
    """A bar on standard error while episodes are run, with their mean return so far. A context manager.

    Args:
      episodes: how many there will be.
      shown: whether to show it, which only a terminal does.
      console: where.
    """

    def __init__(self, episodes: int, shown: bool, console: Console | None = None):
        console = console or _Stderr(stderr=True)
        self._bar = Progress(
            TextColumn("evaluating"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
            disable=not (shown and console.is_terminal),
        )
        self._episodes, self._finished, self._sum = episodes, 0, 0.0
        self._task = self._bar.add_task("", total=episodes, text="")

    def add(self, episode_return: float) -> None:
        """Takes one more finished episode into the mean."""
        self._finished, self._sum = self._finished + 1, self._sum + episode_return

    def show(self, under_way: float) -> None:
        """Moves the bar. `under_way`: what is done of the episodes that are not finished, in episodes."""
        mean = f" · mean return {whole(self._sum / self._finished)}" if self._finished else ""
        text = f"{short(self._finished)}/{short(self._episodes)} episodes{mean}"
        with contextlib.suppress(OSError):
            self._bar.update(self._task, completed=self._finished + under_way, text=text)


def describe(status: Status) -> str:
    """Returns a status in words short enough for a terminal of 80 columns, but for what the bar itself shows."""
    parts = [f"{status.diverged} diverged"] if status.diverged else []
    if status.episode_return is not None:
        parts.append(f"return {whole(status.episode_return)}")
    if not status.diverged:  # there is room for one of them
        parts.append(f"params {status.parameters_left:.0%}")
    if status.updates_per_second is not None:
        parts.append(f"{status.updates_per_second:.0f} upd/s")
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    return " · ".join(parts)


def whole(value: float) -> str:
    """Returns a number without decimals; nan and inf by name."""
    return str(round(float(value))) if math.isfinite(value) else str(float(value))


def short(count: int) -> str:
    """Returns a count in thousands or millions where that is shorter.

    Examples:
      >>> short(950), short(1_500), short(40_000), short(1_000_000)
      ('950', '1.5k', '40k', '1M')
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= 10 * size or (count >= size and count % (size // 10) == 0):
            return f"{count / size:.1f}".removesuffix(".0") + letter
    return str(count)


def duration(seconds: float) -> str:
    """Returns a duration as minutes and seconds, with hours where there are any.

    Examples:
      >>> duration(75.0), duration(3675.0)
      ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
