"""What do several environments, and fewer updates per step, cost in return and save in time?

    python -m experiments.environments [--runs FOLDER] [--cores 0]
    python -m experiments.environments --table

Trains dense agents of the quick preset on HalfCheetah-v5, two seeds each, with 1, 8 and 32 environments and 1, 1/2 and
1/8 updates per environment step, one run after the other. `runs.csv` gets a line per seed and evaluation. Runs that it
has already are left out. `--table` prints the tables of the documentation from it.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from experiments.claims.tables import markdown

ARMS = [(1, "1"), (8, "1/8"), (32, "1/8"), (8, "1/2"), (32, "1/2"), (8, "1"), (32, "1")]
OPTIONS = "--task HalfCheetah-v5 --agent ofenet --engine native --seeds 2 --first-seed 100 --devices 1"
FILE = Path(__file__).parent / "runs.csv"
FIELDS = ("envs", "update_ratio", "seed", "environment_steps", "seconds", "return", "steps_per_second")
STEPS = (10_000, 20_000, 40_000)  # environment steps at which returns are shown
MINUTES = (5, 10, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/environments"), help="folder of the runs")
    parser.add_argument("--cores", help="cores to run on, as taskset takes them; all if none")
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps per seed")
    parser.add_argument("--table", action="store_true", help="print the tables and train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        for envs, ratio in ARMS:
            train(envs, ratio, arguments)
    print(tables(read()))


def train(envs: int, ratio: str, arguments: argparse.Namespace) -> None:
    """Trains an arm, unless there are results of it, and adds them to the file."""
    of_arm = [row for row in read() if (row["envs"], row["update_ratio"]) == (str(envs), ratio)]
    if any(int(row["environment_steps"]) >= arguments.steps for row in of_arm):
        return
    folder = arguments.runs / f"{envs}-{ratio.replace('/', '_')}"
    command = [sys.executable, "-m", "xinet_jax.cli", "train", *OPTIONS.split(), "--steps", str(arguments.steps)]
    command += ["--envs", str(envs), "--update-ratio", ratio, "--out", str(folder), "--overwrite"]
    subprocess.run([*(["taskset", "-c", arguments.cores] if arguments.cores else []), *command], check=True)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["iterations_per_second"] for row in records if row["kind"] == "train" and row["iterations_per_second"]]
    rows = [
        (envs, ratio, row["seed"], row["environment_steps"], row["seconds"], row["return"], statistics.median(rates))
        for row in records
        if row["kind"] == "evaluation"
    ]
    new = not FILE.exists()
    with FILE.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator=os.linesep)
        writer.writerows([FIELDS] * new + rows)


def read() -> list[dict[str, str]]:
    """Returns the lines of the file."""
    if not FILE.exists():
        return []
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def tables(rows: list[dict[str, str]]) -> str:
    """Returns two tables in Markdown, by environment steps and by minutes. Each cell has the returns of the seeds."""
    arms = sorted({(int(row["envs"]), Fraction(row["update_ratio"])) for row in rows})
    first, second = "environments, updates per step", [f"after {minutes} minutes" for minutes in MINUTES]
    by_steps = [[first, *(f"return at {steps:,} steps" for steps in STEPS), "minutes"]]
    by_minutes = [[first, *second, "steps/s of each agent"]]
    for envs, ratio in arms:
        of_arm = [row for row in rows if (int(row["envs"]), Fraction(row["update_ratio"])) == (envs, ratio)]
        minutes = max(float(row["seconds"]) for row in of_arm) / 60
        at = [returns(of_arm, "environment_steps", 1.006 * steps) for steps in STEPS]
        by_steps.append([f"{envs}, {ratio}", *at, f"{minutes:.1f}"])
        after = [returns(of_arm, "seconds", 60 * each) if each <= minutes + 1 else "ended" for each in MINUTES]
        by_minutes.append([f"{envs}, {ratio}", *after, f"{float(of_arm[0]['steps_per_second']):.0f}"])
    return "\n\n".join(markdown(heads, rows) for heads, *rows in (by_steps, by_minutes))


def returns(rows: list[dict[str, str]], name: str, limit: float) -> str:
    """Returns the returns of each seed's newest evaluation up to a limit of steps or seconds."""
    newest = {row["seed"]: float(row["return"]) for row in rows if float(row[name]) <= limit}
    return ", ".join(f"{value:.0f}" for value in newest.values()) or "none yet"


if __name__ == "__main__":
    main()
