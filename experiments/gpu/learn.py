"""What do agents of published size learn on a GPU in the minutes that there are? Many seeds of each arm.

    python -m experiments.gpu.learn [--task HalfCheetah-v5] [--seeds 16] [--steps 60000] [--seconds 540] [--out FOLDER]

The arms `dense`, `xinet` and `magnitude` train side by side, each in a process, and then `small`, with the widths that
`xinet` came to. What is not done when time is up is ended as by Ctrl-C, which saves policies. Each arm leaves its
metrics, `ARM.jsonl.gz`, its configuration and the end of what it printed. `learn.jsonl` has a line per arm, written
when it ends: seconds, and the returns and parameters of its newest evaluations.
"""

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.gpu.report import Report

SHARE = 0.4  # of the parameters
ENDING = 30  # seconds that a run gets to save its policies


def arms(steps: int, preset: str) -> dict[str, str]:
    """Returns the arms that need no other, as options of `xinet train`. Pruning begins at 27% of the steps, and ends at
    60%."""
    start, ramp, stop = (round(share * steps) for share in (0.27, 0.15, 0.6))
    shared = f"--preset {preset} --steps {steps}"
    return {
        "dense": f"{shared} --agent ofenet",
        "xinet": f"{shared} --agent xinet --keep-share {SHARE} "
        f"--prune-start {start} --prune-ramp {ramp} --prune-stop {stop}",
        "magnitude": f"{shared} --agent magnitude --final-share {SHARE} "
        f"--prune-start {start} --prune-ramp {stop - start}",
    }


def begin(folder: Path, name: str, options: str) -> subprocess.Popen:
    """Starts a run in a process of its own. What it prints goes into a file beside its folder."""
    command = [sys.executable, "-m", "xinet_jax.cli", "train", *options.split(), "--out", str(folder / name)]
    with (folder / f"{name}.txt").open("w") as printed:
        return subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)


def finish(runs: dict[str, subprocess.Popen], folder: Path, report: Report, out: Path, until: float) -> None:
    """Waits for runs, ends those that are not done when `until` seconds of the report are left, and reports each."""
    waiting, began = dict(runs), time.monotonic()
    while waiting:
        for name, run in list(waiting.items()):
            if run.poll() is not None:
                report.write(
                    name, summary(folder / name) | {"seconds": time.monotonic() - began, "status": run.returncode}
                )
                keep(folder, name, out)
                del waiting[name]
            elif report.left() < until:
                run.send_signal(signal.SIGTERM)
                try:
                    run.wait(ENDING)
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.wait()
        time.sleep(0.5)


def keep(folder: Path, name: str, out: Path) -> None:
    """Copies what is worth keeping of a run."""
    out.mkdir(parents=True, exist_ok=True)
    metrics = folder / name / "metrics.jsonl"
    (out / f"{name}.jsonl.gz").write_bytes(gzip.compress(metrics.read_bytes() if metrics.exists() else b""))
    (out / f"{name}.txt").write_text((folder / f"{name}.txt").read_text()[-20_000:])


def summary(run: Path) -> dict[str, object]:
    """Returns every member's newest evaluation, and the parameters that it has left."""
    returns, parameters, steps = {}, {}, 0
    metrics = run / "metrics.jsonl"
    for line in metrics.read_text().splitlines() if metrics.exists() else []:
        record = json.loads(line)
        steps = max(steps, record.get("environment_steps", 0))
        if record.get("kind") == "evaluation":
            returns[record["member"]] = record["return"]
        if "parameters" in record:
            parameters[record["member"]] = record["parameters"]
    return {"environment_steps": steps, "returns": list(returns.values()), "parameters": list(parameters.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--options", default="", help="more options of xinet train, for all arms")
    parser.add_argument("--seconds", type=float, default=540, help="when to end the runs that are not done")
    parser.add_argument("--out", type=Path, default=Path("experiments/gpu/results/learn"))
    arguments = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share the card
    report = Report(arguments.out / "learn.jsonl", arguments.seconds)
    shared = f"--task {arguments.task} --seeds {arguments.seeds} {arguments.options}"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        wanted = arms(arguments.steps, arguments.preset)
        runs = {name: begin(folder, name, f"{shared} {options}") for name, options in wanted.items()}
        finish(runs, folder, report, arguments.out, ENDING)
        if report.left() > 2 * ENDING:
            options = f"{shared} --preset {arguments.preset} --steps {arguments.steps}"
            small = f"{options} --agent small --widths-from {folder / 'xinet'}"
            finish({"small": begin(folder, "small", small)}, folder, report, arguments.out, ENDING)
        else:
            report.write("small", {"left_out": "no time was left"})


if __name__ == "__main__":
    main()
