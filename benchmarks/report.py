"""How long a report takes to write, and how large it is.

    python benchmarks/report.py [--members 8] [--evaluations 100] [--lines 100]

The run is made up: metrics of HalfCheetah at quick size, with so many members, evaluations, and lines between them.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from xinet_jax.config import make_config, save_config
from xinet_jax.report.record import read_run
from xinet_jax.report.writing import write_report

_UNITS = {f"ofenet/{branch}_{k}": 40 for branch in ("state", "action") for k in range(1, 5)}
_UNITS |= {f"{network}/hidden_{k}": 128 for network in ("actor", "critic_1", "critic_2") for k in (1, 2)}
_LOSSES = ("auxiliary_loss", "critic_loss", "actor_loss", "temperature", "entropy", "action_value", "theta_held")


def write_run(folder: Path, members: int, evaluations: int, lines: int) -> int:
    """Writes a run's configuration and metrics; returns the size of its metrics [bytes]."""
    steps = 5_000 + 1_000 * max(evaluations, lines)
    save_config(make_config(seeds=members, steps=steps), folder / "config.yaml")
    with (folder / "metrics.jsonl").open("w") as file:
        for kind, count in (("train", lines), ("evaluation", evaluations)):
            for place in range(1, count + 1):
                step = 5_000 + place * (steps - 5_000) // count
                for seed in range(members):
                    record = {"kind": kind, "member": f"seed_{seed}", "seed": seed, "nu": 400.0}
                    record |= {"environment_steps": step, "seconds": step / 100}
                    if kind == "evaluation":
                        record |= {"return": step + seed / 7, "returns": [step + seed / 7] * 5}
                    else:
                        record |= dict.fromkeys((*_LOSSES, "iterations_per_second"), step / 3 + seed / 7)
                        record |= {"episodes": 1, "episode_return": step / 7, "episode_length": 1000.0}
                        record |= {"parameters": 200_000, "parameters_left": 1 - place / 2 / count, "ofenet_left": 0.5}
                        record |= {"flops": 400_000, "units": _UNITS, "bad_transitions": 0, "diverged": False}
                    file.write(json.dumps(record, allow_nan=False) + "\n")
        return file.tell()


def main() -> None:
    """Prints the shortest of five times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("members", 8), ("evaluations", 100), ("lines", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, seconds = Path(name), []
        size = write_run(folder, options.members, options.evaluations, options.lines)
        for _ in range(5):
            before = time.perf_counter()
            write_report([read_run(folder)], folder / "report.html")
            seconds.append(time.perf_counter() - before)
        page = (folder / "report.html").stat().st_size
    print(f"metrics {size / 1e6:.1f} MB, page {page / 1e6:.1f} MB: {min(seconds):.2f} s, the first {seconds[0]:.2f} s")


if __name__ == "__main__":
    main()
