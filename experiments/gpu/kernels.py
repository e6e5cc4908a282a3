"""What a GPU did while a program ran: time by kernel, from a profile."""

import collections
import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

LISTED = 40


def traced(function: Callable[[], Any], steps: int, file: Path) -> dict[str, Any]:
    """Runs a function under JAX's profiler and returns what the device did in each of its steps.

    Args:
      function: what to run. Its result is waited for.
      steps: how many steps it takes.
      file: where the profile goes, compressed.
    """
    options = jax.profiler.ProfileOptions()
    options.host_tracer_level = 1
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            before = time.perf_counter()
            jax.block_until_ready(function())
            seconds = time.perf_counter() - before
        content = next(Path(folder).rglob("*.xplane.pb")).read_bytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content, 3))
    return {"traced_milliseconds": 1e3 * seconds / steps} | summary(content, steps)


def summary(content: bytes, steps: int) -> dict[str, Any]:
    """Returns kernels and busy milliseconds per step, and the kernels that take the most time."""
    profile = jax.profiler.ProfileData.from_serialized_xspace(content)
    times, launches = collections.Counter(), collections.Counter()
    for plane in profile.planes:
        if not plane.name.startswith("/device:GPU"):
            continue
        for line in plane.lines:
            if "Stream" in line.name:
                for event in line.events:
                    times[event.name] += event.duration_ns
                    launches[event.name] += 1
    largest = [
        [name[:80], launches[name] / steps, nanoseconds / steps / 1e6]
        for name, nanoseconds in times.most_common(LISTED)
    ]
    return {
        "launches": sum(launches.values()) / steps,
        "busy_milliseconds": sum(times.values()) / steps / 1e6,
        "largest": largest,
    }
