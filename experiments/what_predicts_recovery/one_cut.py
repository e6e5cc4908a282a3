"""Is it better to prune at once, and to let the actor wait, or to prune gradually?

From the trunk of `experiments.what_predicts_recovery`, agents are pruned to 15% of their parameters in three ways.

    python -m experiments.what_predicts_recovery.one_cut [--cores 0]    # about half an hour for each on a core
    python -m experiments.what_predicts_recovery.one_cut --table

Results: `one_cut.csv`, a line per way, seed and evaluation. Ways that it has are left out.
"""

import argparse
import csv
import itertools
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from experiments.claims.tables import markdown
from experiments.what_predicts_recovery.cut import FIRST_SEED, HERE, SEEDS, append, trunk, use_cores
from experiments.what_predicts_recovery.tables import means, paired
from xinet_jax.training.results import read_records

COMMON = f"--seeds {SEEDS} --first-seed {FIRST_SEED} --devices 1 --steps 40000 --eval-every 2500 --eval-episodes 5"
COMMON += " --final-episodes 10 --checkpoint-every 5000"
XINET = "--agent xinet --keep-share 0.15 --price found --estimator fisher --theta-every 100"
MAGNITUDE = "--agent magnitude --final-share 0.15"
WAYS = {
    "gradual": f"{MAGNITUDE} --prune-start 15500 --prune-ramp 12000",
    "one cut": f"{MAGNITUDE} --prune-start 17000 --prune-ramp 0 --actor-waits 1000 --width-multiple 1",
    # Theta moves, and nothing is pruned before the final rounding.
    "one cut, xinet": f"{XINET} --prune-start 15100 --prune-ramp 1800 --prune-stop 17000 --prune-every 20000"
    " --actor-waits 1000 --width-multiple 1",
}
LAST_FIFTH, SAVED = (32_500, 35_000, 37_500, 40_000), -1  # steps; -1 stands for the saved policies
SHOWN = (17_500, 20_000, 25_000, 30_000, 40_000)  # steps in the table; the file has all
FILE = "one_cut.csv"

Returns = dict[str, dict[int, dict[int, float]]]  # by way, environment steps and seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS), help="ways to train")
    parser.add_argument("--runs", type=Path, default=Path("runs/recovery"), help="folder of the trunk and the runs")
    parser.add_argument("--cores", help="cores to run on, as 0 or 0,1; all if none")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the CSV file")
    parser.add_argument("--table", action="store_true", help="print the table and train nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        use_cores(arguments.cores)
        for way in arguments.ways:
            if way not in read(arguments.out):
                store(way, train(way, arguments.runs), arguments.out)
    returns = read(arguments.out)
    print(f"{table(returns)}\n\n{differences(returns)}")


def train(way: str, runs: Path) -> Path:
    """Trains the agents of one way, and returns their run folder. A run that was interrupted goes on."""
    start, folder = trunk("HalfCheetah-v5", runs), runs / way.replace(", ", "-").replace(" ", "-")
    how = ["--from", str(start), *COMMON.split(), *WAYS[way].split(), "--out", str(folder)]
    if folder.exists():
        how = ["--resume", str(folder)]
    subprocess.run([sys.executable, "-m", "xinet_jax", "train", *how], check=True)
    return folder


def store(way: str, run: Path, out: Path) -> None:
    """Writes the returns of a run to the CSV file: those of evaluations, and of the saved policies as step `saved`."""
    rows = []
    for record in read_records(run):
        if record["kind"] in ("evaluation", "gymnasium"):
            step = record["environment_steps"] if record["kind"] == "evaluation" else "saved"
            stamp = {"way": way, "seed": record["seed"], "environment_steps": step}
            rows.append(stamp | {"return": round(record["return"], 1)})
    append(out / FILE, rows)


def read(folder: Path) -> Returns:
    """Returns all results. Those of the saved policies are at step `SAVED`."""
    returns: Returns = defaultdict(lambda: defaultdict(dict))
    if (folder / FILE).exists():
        with (folder / FILE).open(newline="") as lines:
            for row in csv.DictReader(lines):
                step = SAVED if row["environment_steps"] == "saved" else int(row["environment_steps"])
                returns[row["way"]][step][int(row["seed"])] = float(row["return"])
    return returns


def table(returns: Returns) -> str:
    """Returns a line per way: mean returns over seeds and half the width of their 95% intervals, in Markdown."""
    of_seeds = {way: {step: list(of.values()) for step, of in of_way.items()} for way, of_way in returns.items()}
    return means("way", "step {}", of_seeds, SHOWN)


def differences(returns: Returns) -> str:
    """Returns a line per pair of ways: differences of their returns, seed by seed, in Markdown."""
    rows = []
    for ours, theirs in itertools.combinations(reversed(returns), 2):
        pair = returns[ours], returns[theirs]
        late = [{seed: np.mean([way[step][seed] for step in LAST_FIFTH]) for seed in way[SAVED]} for way in pair]
        cells = (paired(*late), *(paired(*(way[step] for way in pair)) for step in (SAVED, 20_000)))
        rows.append((f"{ours} less {theirs}", *cells))
    return markdown(("difference", "last fifth", "saved policies", "step 20,000"), rows)


if __name__ == "__main__":
    main()
