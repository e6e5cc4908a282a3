"""Do members in one program finish sooner than as many runs one after the other, start-up and compilation included?

Whole runs of `xinet train` at quick size, each a process of its own that starts with an empty compilation cache when it
is the first of its kind. Single runs take minutes: only some are taken, and their mean stands for the others.

    taskset -c 0,1 python benchmarks/sweep.py [--members 8] [--alone 2] [--steps 40000] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(folder: Path, cache: Path, *options: str) -> float:
    """Returns the seconds that a whole run takes, from the command to its end."""
    command = [sys.executable, "-m", "xinet_jax.cli", "train", "--out", str(folder), *options]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    before = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=8, help="number of members")
    parser.add_argument("--alone", type=int, default=2, help="how many of them are also trained alone")
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps of each")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    steps = ["--steps", str(arguments.steps)]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        alone = [run(root / "0", root / "cache", *steps)]  # with this and the next around the runs together
        together = run(root / "together", root / "cache_together", *steps, "--seeds", str(arguments.members))
        for seed in range(1, arguments.alone):
            alone.append(run(root / str(seed), root / "cache", *steps, "--first-seed", str(seed)))
    in_turn = statistics.mean(alone) * arguments.members
    result = {
        "members": arguments.members,
        "seconds_together": round(together, 1),
        "seconds_alone": [round(seconds, 1) for seconds in alone],
        "seconds_one_after_the_other": round(in_turn, 1),
        "sooner": round(in_turn / together, 3),
    }
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    for name, value in result.items():
        print(f"{name.replace('_', ' ')}: {value}")


if __name__ == "__main__":
    main()
