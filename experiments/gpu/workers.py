"""Parts of a script in several processes at a time: all compile side by side, then each is timed alone.

Compiling takes most of a script's time and keeps one or two cores busy; a GPU's machine has many.
"""

import multiprocessing
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.gpu.report import Report

Figures = dict[str, Any]


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
      workers: the processes.
      report: where results go; its time is the limit.
      prepare_seconds: measuring begins after this, whether or not all have prepared.
    """
    context = multiprocessing.get_context("spawn")
    ready, alone, results = context.Barrier(len(workers)), context.Lock(), context.Queue()
    deadline = time.monotonic() + prepare_seconds
    missing = {part.name for worker in workers for part in worker.parts}
    processes = []
    for worker in workers:
        before = dict(os.environ)
        os.environ.update(worker.environment)  # a process takes the environment that its parent has when it starts
        process = context.Process(target=_work, args=(worker.parts, ready, alone, results, deadline), daemon=True)
        process.start()
        processes.append(process)
        os.environ.clear()
        os.environ.update(before)
    while missing and report.left() > 0:
        try:
            name, figures = results.get(timeout=1)
        except queue.Empty:
            if not any(process.is_alive() for process in processes) and results.empty():
                break
            continue
        missing.discard(name)
        report.write(name, figures)
    for process in processes:
        process.kill()
    for name in sorted(missing):
        report.write(name, {"left_out": "time was up, or its process ended"})


def _work(parts: Sequence[Part], ready: Any, alone: Any, results: Any, deadline: float) -> None:
    prepared = []
    for part in parts:
        before = time.monotonic()
        measure, error = _tried(part.prepare)
        seconds = {"seconds_to_prepare": round(time.monotonic() - before, 2)}
        if error or not callable(measure):
            results.put((part.name, (error or measure) | seconds))
        else:
            prepared.append((part.name, measure, seconds))
    try:
        ready.wait(max(0.0, deadline - time.monotonic()))
        quiet = {}
    except threading.BrokenBarrierError:
        quiet = {"others_still_prepared": True}
    for name, measure, seconds in prepared:
        with alone:
            figures, error = _tried(measure)
        results.put((name, (error or figures) | seconds | quiet))


def _tried(function: Callable[[], Any]) -> tuple[Any, Figures | None]:
    """Returns a function's result, or what it raised."""
    try:
        return function(), None
    except Exception as error:
        places = [f"{Path(place.filename).name}:{place.lineno}" for place in traceback.extract_tb(error.__traceback__)]
        said = "; ".join(str(error).splitlines()[:4])[:800]
        return None, {"error": f"{type(error).__name__}: {said}", "at": places[-4:]}
