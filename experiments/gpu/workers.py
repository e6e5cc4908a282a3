"""Parts of a script in several processes at a time: all compile side by side, then each is timed alone.

Compiling takes most of a script's time and keeps one or two cores busy; a GPU's machine has many.
"""

import multiprocessing
import os
import queue
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.gpu.report import Report

Figures = dict[str, Any]
MEASURE_SECONDS = 40  # that one process may take: one that hangs holds up no other


class Part(NamedTuple):
    """One result of a script.

    Attributes:
      name: what it is called.
      prepare: compiles what is measured and returns the function that measures it, which returns figures. What is not
        timed returns its figures at once.
    """

    name: str
    prepare: Callable[[], Callable[[], Figures] | Figures]


class Worker(NamedTuple):
    """A process that prepares its parts one after the other, waits until all processes have, and measures them.

    Attributes:
      parts: its parts.
      environment: variables of its environment, such as `XLA_FLAGS`.
    """

    parts: Sequence[Part]
    environment: Mapping[str, str] = {}


def run(workers: Sequence[Worker], report: Report, prepare_seconds: float) -> None:
    """Runs every worker's parts and reports each when it ends. What is not done when time is up is reported as such.

    Args:
      workers: the processes, in the order in which they measure.
      report: where results go; its time is the limit.
      prepare_seconds: measuring begins after this at the latest; processes that have not prepared by then are ended.
    """
    context = multiprocessing.get_context("spawn")
    results, running, deadline = context.Queue(), [], report.left() - prepare_seconds
    missing = {part.name for worker in workers for part in worker.parts}

    def wait(done: Callable[[], bool], until: float) -> None:
        """Reports results until something is done or no more time is left than `until`."""
        while report.left() > max(until, 0):
            finished = done()
            try:
                name, figures = results.get(timeout=0.2)
            except queue.Empty:
                if finished:
                    return
                continue
            missing.discard(name)
            report.write(name, figures)

    for worker in workers:
        before, events = dict(os.environ), [context.Event() for _ in range(3)]
        os.environ.update(worker.environment)  # a process takes the environment that its parent has when it starts
        process = context.Process(target=_work, args=(worker.parts, *events, results), daemon=True)
        process.start()
        running.append((process, *events))
        os.environ.clear()
        os.environ.update(before)
    wait(lambda: all(ready.is_set() or not process.is_alive() for process, ready, _, _ in running), deadline)
    for process, ready, _, _ in running:
        if not ready.is_set():
            process.kill()
    for process, ready, turn, done in running:
        if ready.is_set():
            turn.set()
            wait(lambda p=process, d=done: d.is_set() or not p.is_alive(), report.left() - MEASURE_SECONDS)
        process.kill()
    for name in sorted(missing):
        report.write(name, {"left_out": "time was up, or its process ended"})


def _work(parts: Sequence[Part], ready: Any, turn: Any, done: Any, results: Any) -> None:
    prepared = []
    for part in parts:
        before = time.monotonic()
        measure, error = _tried(part.prepare)
        seconds = {"seconds_to_prepare": round(time.monotonic() - before, 2)}
        if error or not callable(measure):
            results.put((part.name, (error or measure) | seconds))
        else:
            prepared.append((part.name, measure, seconds))
    ready.set()
    turn.wait()
    for name, measure, seconds in prepared:
        figures, error = _tried(measure)
        results.put((name, (error or figures) | seconds))
    results.close()
    results.join_thread()
    done.set()


def _tried(function: Callable[[], Any]) -> tuple[Any, Figures | None]:
    """Returns a function's result, or what it raised."""
    try:
        return function(), None
    except Exception as error:
        places = [f"{Path(place.filename).name}:{place.lineno}" for place in traceback.extract_tb(error.__traceback__)]
        said = "; ".join(str(error).splitlines()[:4])[:800]
        return None, {"error": f"{type(error).__name__}: {said}", "at": places[-4:]}
