"""What a GPU did while a program ran: time by kernel, from a profile.

    python -m experiments.gpu.kernels PROFILE.xplane.pb.gz ... > kernels.csv

makes a table of the profiles that `experiments/gpu/speed.py` leaves, of `TRACED` steps each.
"""

import collections
import csv
import gzip
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

LISTED = 40  # kernels in a summary
TRACED = 10  # steps in a profile


def traced(function: Callable[[], Any], file: Path) -> dict[str, Any]:
    """Runs a function under JAX's profiler and returns what the device did in each of its steps.

    Args:
      function: takes `TRACED` steps. Its result is waited for.
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
    return {"traced_milliseconds": 1e3 * seconds / TRACED} | summary(content)


def by_kernel(content: bytes) -> list[tuple[str, float, float]]:
    """Returns every kernel of a profile, its launches and its milliseconds per step, in order of their time."""
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
    return [(name[:80], launches[name] / TRACED, time / TRACED / 1e6) for name, time in times.most_common()]


def summary(content: bytes) -> dict[str, Any]:
    """Returns kernels and busy milliseconds per step, and the kernels that take the most time."""
    kernels = by_kernel(content)
    return {
        "launches": sum(launches for _, launches, _ in kernels),
        "busy_milliseconds": sum(milliseconds for *_, milliseconds in kernels),
        "largest": kernels[:LISTED],
    }


def main() -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["part", "kernel", "kind", "launches_per_step", "milliseconds_per_step"])
    for file in map(Path, sys.argv[1:]):
        part = file.name.removesuffix(".xplane.pb.gz").replace("_", " ")
        for name, launches, milliseconds in by_kernel(gzip.decompress(file.read_bytes())):
            kind = "product" if re.search("gemm|cutlass|xmma|cublas", name) else "other"
            writer.writerow([part, name, kind, launches, round(milliseconds, 5)])


if __name__ == "__main__":
    main()
