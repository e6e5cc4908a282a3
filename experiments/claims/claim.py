"""The command line that all claims share: runs what is missing, goes on with what was interrupted, prints the table."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from experiments.claims import results
from experiments.claims.arms import ARMS, SEEDS
from xinet_jax.config import load_config
from xinet_jax.training.results import read_records

RUNS = Path("runs/claims")
Table = Callable[[Path, list[str]], str]


def main(description: str, arms: Iterable[str], tasks: Iterable[str], table: Table) -> None:
    """Runs a claim's command.

    Args:
      description: what `--help` says of the claim.
      arms: names of its arms, in the order in which they are run.
      tasks: its tasks.
      table: returns the claim's table as Markdown, from the results' folder and the tasks.
    """
    arms, tasks = list(arms), list(tasks)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, metavar="TASK", help=f"of {tasks}")
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms, metavar="ARM", help=f"of {arms}")
    parser.add_argument("--runs", type=Path, default=RUNS, help="run folders: checkpoints and policies")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="results: what is there is not run again")
    parser.add_argument("--options", default="", help="further options of `xinet train`, for every arm")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, and run nothing")
    given = parser.parse_args()
    try:
        for task in () if given.table else given.tasks:
            for arm in given.arms:
                if not (given.results / task / arm).exists():
                    run(task, arm, given.runs, given.results, given.options.split())
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on from the last checkpoint")
    print(table(given.results, given.tasks))


def run(task: str, arm: str, runs: Path, folder: Path, options: Iterable[str] = ()) -> None:
    """Trains one arm on one task, all seeds in one program, and writes its results.

    Args:
      task, arm: which.
      runs: where its run folder is or will be; a run that was interrupted goes on.
      folder: where its results go.
      options: further options of `xinet train`.
    """
    if ARMS[arm].needs_xinet and not (runs / task / "xinet").exists():
        sys.exit(f"arm {arm} takes over from arm xinet, whose run {runs / task / 'xinet'} is not there: run it first")
    if ARMS[arm].needs_xinet and not (folder / task / "xinet").exists():
        run(task, "xinet", runs, folder, options)
    own = runs / task / arm
    own.parent.mkdir(parents=True, exist_ok=True)
    arguments = [*arguments_of(task, arm, runs, folder), *options]
    print(f"{task}, {arm}: xinet train {' '.join(arguments)}", flush=True)
    if not finished(own):
        versions = own.with_name(f"{arm}.versions")
        begun = (own / "config.yaml").exists()
        if not begun:
            versions.unlink(missing_ok=True)
        with versions.open("a") as file:
            file.write(f"{_version()}\n")
        how = ["--resume", str(own)] if begun else [*arguments, "--out", str(own)]
        ended = subprocess.run([sys.executable, "-m", "xinet_jax.cli", "train", *how], check=False).returncode
        if ended:
            sys.exit(f"{task}, {arm}: `xinet train` ended with code {ended}; the same command goes on where it was")
    versions = own.with_name(f"{arm}.versions").read_text().split("\n")[:-1]
    about = {"command": f"xinet train {' '.join(arguments)}", "code": versions[-1], "resumed": len(versions) - 1}
    if len(set(versions)) > 1:
        about["code_before"] = list(dict.fromkeys(versions[:-1]))
    results.save(own, folder / task / arm, about)


def arguments_of(task: str, arm: str, runs: Path, folder: Path) -> list[str]:
    """Returns the arguments of `xinet train` for one arm on one task."""
    own = ARMS[arm]
    seeds = own.seeds or SEEDS[task]
    ended = results.read(folder / task / "xinet", "final")
    left = float(results.column(ended, "parameters_left").mean()) if own.needs_xinet else None
    options = own.options.format(xinet=runs / task / "xinet", left=left)
    return ["--task", task, "--seeds", str(seeds), "--steps", str(own.steps), *options.split()]


def finished(run: Path) -> bool:
    """Returns whether a run has come to its end, policies' returns in Gymnasium included."""
    if not (run / "config.yaml").exists():
        return False
    records, steps = read_records(run), load_config(run / "config.yaml").steps
    taken = {r["member"] for r in records if r["kind"] == "gymnasium" and r["environment_steps"] == steps}
    return bool(taken) and taken == {r["member"] for r in records if "member" in r}


def _version() -> str:
    ask = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: E731
    changed = "+changes" if ask("status", "--porcelain", "--", "xinet_jax") else ""
    return f"{ask('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"
