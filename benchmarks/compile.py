"""How long from the command to the first update, with nothing kept from earlier runs and with everything kept?

Each start is a process of its own: `xinet train` at quick size, cut short after the first updates. A cold start has an
empty cache; the warm ones find what it left. The seconds that each program takes to compile come from JAX's own log.

    taskset -c 0,1 python benchmarks/compile.py [--warm 3] [--json]
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = "train --steps 302 --random-steps 300 --pretrain-updates 1 --eval-every 302 --eval-episodes 1 --final-episodes 1"
RUN += " --prune-start 301 --prune-stop None --replay-capacity 40000"
PROGRAMS = ("init", "collect", "pretrain", "train", "evaluate")


def start(cache: Path) -> dict:
    """Returns the seconds from the command to the first update, and those that XLA took for each program."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_LOG_COMPILES": "1"}
        command = [sys.executable, "-m", "xinet_jax.cli", *RUN.split(), "--out", str(folder)]
        metrics = folder / "metrics.jsonl"
        with open(Path(temporary) / "said", "w+") as said:
            before = time.perf_counter()
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
            while not (metrics.exists() and '"kind": "train"' in metrics.read_text()):
                if process.poll() is not None:
                    raise SystemExit(f"the run ended early: {Path(said.name).read_text()[-2000:]}")
                time.sleep(0.02)
            seconds = time.perf_counter() - before
            process.wait()
            said.seek(0)
            text = said.read()
    compilations = re.findall(r"Finished XLA compilation of jit\((\w+)\) in ([\d.]+) sec", text)
    compiled = {name: round(sum(float(s) for n, s in compilations if n == name), 2) for name in PROGRAMS}
    return {"seconds": seconds, "compiled": compiled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm", type=int, default=3, help="warm starts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        cold = start(Path(cache))
        warm = [start(Path(cache)) for _ in range(arguments.warm)]
    result = {
        "cold_seconds": round(cold["seconds"], 1),
        "cold_seconds_compiling": cold["compiled"],
        "warm_seconds": round(statistics.median(warm_start["seconds"] for warm_start in warm), 1),
        "warm_seconds_compiling": warm[-1]["compiled"],
    }
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    for name, value in result.items():
        print(f"{name.replace('_', ' ')}: {value}")


if __name__ == "__main__":
    main()
