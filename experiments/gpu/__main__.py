"""Does everything run on a GPU, does it compute what it computes on a CPU, and how fast is it?

    python -m experiments.gpu [--seconds 300] [--out experiments/gpu/results] [--only check speed warp]

Every part writes a line when it ends; what a part raises is its result. Parts compile side by side, then each is timed
alone. They are described in `experiments/gpu/check.py` and `speed.py`.
"""

import argparse
import os
from fnmatch import fnmatch
from pathlib import Path

from experiments.gpu import check, speed, workers
from experiments.gpu.report import Report


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300, help="when to stop")
    parser.add_argument("--prepare-seconds", type=float, default=180, help="when to begin to measure, at the latest")
    parser.add_argument("--most", type=int, default=1024, help="members of the largest program")
    parser.add_argument("--only", nargs="+", choices=("check", "speed", "warp"), default=["check", "speed"])
    parser.add_argument("--parts", nargs="+", default=["*"], help="names of parts, with * for anything")
    parser.add_argument("--out", type=Path, default=Path("experiments/gpu/results"))
    options = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # many processes share the card
    several = check.workers(options.out) if "check" in options.only else []
    several += speed.workers(options.most, traces=options.out) if "speed" in options.only else []
    several += speed.workers(options.most, warp=True) if "warp" in options.only else []
    chosen = [
        worker._replace(
            parts=[part for part in worker.parts if any(fnmatch(part.name, wanted) for wanted in options.parts)]
        )
        for worker in several
    ]
    report = Report(options.out / f"{'-'.join(options.only)}.jsonl", options.seconds)
    workers.run([worker for worker in chosen if worker.parts], report, options.prepare_seconds)


if __name__ == "__main__":
    main()
