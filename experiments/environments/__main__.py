"""What do several environments, and fewer updates per step, cost in return and save in time?

    python -m experiments.environments [--runs FOLDER] [--cores 0]
    python -m experiments.environments --table

Trains dense agents of the quick preset on HalfCheetah-v5, two seeds each, with 1, 8 and 32 environments and 1, 1/2 and
1/8 updates per environment step, one run after the other. `runs.csv` gets a line per seed and evaluation. Runs that it
has already are left out. `--table` prints the table of the documentation from it.
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

ARMS = [(1, "1"), (8, "1/8"), (32, "1/8"), (8, "1/2"), (32, "1/2"), (8, "1"), (32, "1")]
OPTIONS = "--task HalfCheetah-v5 --agent ofenet --engine native --seeds 2 --first-seed 100 --devices 1"
FILE = Path(__file__).parent / "runs.csv"
FIELDS = ("envs", "update_ratio", "seed", "environment_steps", "seconds", "return", "steps_per_second")
SHOWN = (10_000, 20_000, 40_000)  # environment steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/environments"), help="folder of the runs")
    parser.add_argument("--cores", help="cores to run on, as taskset takes them; all if none")
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps per seed")
    parser.add_argument("--table", action="store_true", help="print the table and train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        for envs, ratio in ARMS:
            train(envs, ratio, arguments)
    print(table(read()))


def train(envs: int, ratio: str, arguments: argparse.Namespace) -> None:
    """Trains an arm, unless there are results of it, and adds them to the file."""
    if any((row["envs"], row["update_ratio"]) == (str(envs), ratio) for row in read()):
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


def table(rows: list[dict[str, str]]) -> str:
    """Returns the table in Markdown: for each arm the returns of its seeds, minutes, and steps per second."""
    heads = ["environments, updates per step", *(f"return at {steps:,}" for steps in SHOWN), "minutes", "steps/s"]
    lines = [" | ".join(heads), "|".join(["---"] + ["---:"] * (len(heads) - 1))]
    for envs, ratio in sorted({(int(row["envs"]), Fraction(row["update_ratio"])) for row in rows}):
        of_arm = [row for row in rows if (int(row["envs"]), Fraction(row["update_ratio"])) == (envs, ratio)]
        cells = [f"{envs}, {ratio}"]
        for steps in SHOWN:
            returns = [float(row["return"]) for row in of_arm if abs(int(row["environment_steps"]) - steps) < envs]
            cells.append(", ".join(f"{value:.0f}" for value in returns))
        cells.append(f"{max(float(row['seconds']) for row in of_arm) / 60:.1f}")
        cells.append(f"{float(of_arm[0]['steps_per_second']):.0f}")
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main()
