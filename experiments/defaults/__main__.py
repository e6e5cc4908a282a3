"""The candidates for the defaults of pruning, against the dense agent, at the size of the quick preset.

Each candidate is one `xinet train` with two seeds, on each of two tasks. What it ends with is a line per seed in
`defaults.csv`. Candidates whose lines are there already are left out, so an interrupted series goes on where it was.

    python -m experiments.defaults            # all that is missing: about ten minutes each on one core
    python -m experiments.defaults --table    # the table, from the file
    python -m experiments.defaults --renew    # renew the table of docs/notebook/defaults.md and its CSV file
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments import pages
from xinet_jax.networks.complexity import LayerCount, left
from xinet_jax.policy.files import find_policies
from xinet_jax.policy.structure import load_structure

FILE = Path(__file__).parent / "defaults.csv"
PAGE = Path("docs/notebook/defaults.md")
PAGE_COLUMNS = ("task", "candidate", "return (each seed)", "halfway", "all left", "updates/s")
TASKS = ("HalfCheetah-v5", "Hopper-v5")
WIDE = "--actor-hidden 256 256 --critic-hidden 256 256"
# What is not said is the default.
CANDIDATES = {
    "xinet": "",
    "dense": "--agent ofenet",
    "xinet, heads 256-256": WIDE,
    "dense, heads 256-256": f"--agent ofenet {WIDE}",
    "magnitude": "--agent magnitude",
    "random": "--agent random",
    "weights see mean gates": "--weights-see mean",
    "weights see mean gates, heads cheaper": "--weights-see mean --nu-scale-actor 0.2 --nu-scale-critic 0.12",
    "weights see sampled gates": "--weights-see sampled",
    "theta every update": "--theta-every 1",
    "theta every 2": "--theta-every 2",
    "theta every 4": "--theta-every 4",
    "only OFENet gated": "--gated ofenet",
    "nu halved": "--nu 200",
    "nu doubled": "--nu 800",
    "leave-out 1 in 50": "--leave-out 0.02",
    "starting at 5,000": "--prune-start 5000 --prune-stop 15000",
    "rounding at 25,000": "--prune-stop 25000",
    "rounding at 25,000, heads at price 0.5": "--prune-stop 25000 --nu-scale-actor 0.5 --nu-scale-critic 0.5",
    "heads pruned from 15,000": "--prune-start-actor 15000 --prune-start-critic 15000",
    "never rounding": "--prune-stop None",
    "actor's loss hidden from OFENet's gates": "--no-actor-speaks",
    "sac": "--agent sac",
}
COLUMNS = ["task", "candidate", "options", "seed", "steps", "return", "return_halfway"]
COLUMNS += ["all_left", "ofenet_left", "actor_left", "critic_left", "updates_per_second", "updates_per_second_at_end"]


def run(task: str, name: str, steps: int) -> Iterator[dict]:
    """Trains one candidate on one task, and returns a row per seed."""
    options = CANDIDATES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        command = [sys.executable, "-m", "xinet_jax.cli", "train", "--task", task, "--out", str(folder)]
        command += ["--seeds", "2", "--steps", str(steps), *options.split()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for policy in find_policies(folder):
            structure = load_structure(policy)
            own = [record for record in records if record.get("seed") == structure.seed]
            rates = [record["iterations_per_second"] for record in own if record["kind"] == "train"]
            halfway = [r["return"] for r in own if r["kind"] == "evaluation" and r["environment_steps"] <= steps / 2]
            row = [task, name, options, structure.seed, steps]
            row += [round(next(r["return"] for r in own if r["kind"] == "gymnasium")), round(halfway[-1])]
            row += [f"{share(structure.layers, part):.3f}" for part in ("", "ofenet", "actor", "critic")]
            row += [round(rates[1], 1), round(rates[-1], 1)]
            yield dict(zip(COLUMNS, row, strict=True))


def share(layers: tuple[LayerCount, ...], network: str) -> float:
    """Returns the share of parameters that is left of the networks whose names begin so."""
    return left(layer for layer in layers if layer.network.startswith(network))


def table(rows: list[dict]) -> str:
    """Returns the means over seeds as a Markdown table."""
    lines = ["| task | candidate | return (each seed) | halfway | all left | OFENet | actor | critics | updates/s |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for task, name in dict.fromkeys((row["task"], row["candidate"]) for row in rows):
        own = [row for row in rows if (row["task"], row["candidate"]) == (task, name)]
        mean = lambda column, own=own: float(np.mean([float(row[column]) for row in own]))  # noqa: E731
        each = ", ".join(row["return"] for row in own)
        shares = " | ".join(f"{mean(f'{part}_left'):.0%}" for part in ("all", "ofenet", "actor", "critic"))
        rate = f"{mean('updates_per_second'):.0f} → {mean('updates_per_second_at_end'):.0f}"
        lines.append(
            f"| {task} | {name} | {mean('return'):.0f} ({each}) | {mean('return_halfway'):.0f} | {shares} | {rate} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), help="candidates")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="tasks")
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps per seed")
    parser.add_argument("--out", type=Path, default=FILE, help="the CSV file")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    parser.add_argument("--renew", action="store_true", help=f"renew the table of {PAGE} and run nothing")
    arguments = parser.parse_args()
    rows = list(csv.DictReader(arguments.out.open())) if arguments.out.exists() else []
    if arguments.renew:
        pages.renew(PAGE, table(rows), PAGE_COLUMNS)
        return
    if arguments.table:
        print(table(rows))
        return
    done = {(row["task"], row["candidate"], int(row["steps"])) for row in rows}
    for task in arguments.tasks:
        for name in arguments.only:
            if (task, name, arguments.steps) in done:
                continue
            print(f"{task}: {name}", flush=True)
            found = list(run(task, name, arguments.steps))
            new = not arguments.out.exists()
            with arguments.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerows(found)


if __name__ == "__main__":
    main()
