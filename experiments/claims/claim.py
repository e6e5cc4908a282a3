"""The command line that all claims share: runs what is missing, goes on with what was interrupted, prints the table."""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from experiments.claims import results, trunk
from experiments.claims.arms import ARMS, SEEDS, SHARES, TRUNKS, Arm
from experiments.claims.starts import Starts
from xinet_jax.command_line.parsing import train_config
from xinet_jax.training.results import read_records
from xinet_jax.training.run_folder import CONFIG_FILE

RUNS = Path("runs/claims")
Table = Callable[[Path, list[str], list[str]], str]


def main(description: str, arms: Iterable[str], tasks: Iterable[str], table: Table) -> None:
    """Runs a claim's command.

    Args:
      description: what `--help` says of the claim.
      arms: names of its arms, in the order in which they are run.
      tasks: its tasks.
      table: returns the claim's table as Markdown, from the results' folder, the tasks and the arms.
    """
    arms, tasks = list(arms), list(tasks)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, metavar="TASK", help=f"of {tasks}")
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms, metavar="ARM", help=f"of {arms}")
    parser.add_argument("--runs", type=Path, default=RUNS, help="run folders: checkpoints and policies")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="results: what is there is not run again")
    parser.add_argument("--options", default="", help="further options of `xinet train`, for every arm")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, and run nothing")
    arguments = parser.parse_args()
    if arguments.options and (arguments.table or arguments.runs == RUNS or arguments.results == results.FOLDER):
        parser.error("--options is for runs of your own: give --runs and --results as well, and not --table")
    for task in () if arguments.table else arguments.tasks:
        for arm in arguments.arms:
            complete(task, arm, arguments.runs, arguments.results, arguments.options.split())
    print(table(arguments.results, arguments.tasks, arguments.arms))


def complete(task: str, arm: str, runs: Path, folder: Path, options: Iterable[str] = ()) -> None:
    """Trains one arm on one task, all seeds in one program, and writes its results, unless they are there.

    Args:
      task, arm: which.
      runs: where its run folder is or will be; a run that was interrupted goes on.
      folder: where its results are or go.
      options: further options of `xinet train`.

    Raises:
      SystemExit: if what is there was made in another way, or training ends early.
    """
    options = list(options)
    for other in re.findall("{(.+?)}", ARMS[arm].options):
        if other in ARMS:  # it starts from what that arm ended with
            complete(task, other, runs, folder, options)
    command = command_of(task, arm, folder, options)
    there = results.about(folder / task / arm)
    if there:
        _check_same(command, there["command"], folder / task / arm)
        return
    train(task, arm, runs, folder, options)
    results.save(runs / task / arm, folder / task / arm, Starts(runs / task / f"{arm}.starts").about())


def train(task: str, arm: str, runs: Path, folder: Path, options: Iterable[str]) -> None:
    """Trains one arm on one task to its end, from where it was left. The arguments are those of `complete`."""
    run, branch = runs / task / arm, None
    name = ARMS[arm].trunk
    if name and not options:  # options may change what happens before anything is pruned
        branch = runs / task / name
        if not (run / CONFIG_FILE).exists() and not trunk.is_trained(branch, TRUNKS[name].steps):
            _run(f"{task}, before anything is pruned", branch, _command(task, TRUNKS[name], TRUNKS[name].options))
    _run(f"{task}, {arm}", run, command_of(task, arm, folder, options), branch)


def _run(name: str, run: Path, command: str, branch: Path | None = None) -> None:
    """Runs a command until it ends, in run folder `run`: anew, from where it was left, or from the trunk's end."""
    begun, starts = (run / CONFIG_FILE).exists(), Starts(run.with_name(f"{run.name}.starts"))
    if begun:
        _check_same(command, starts.about()["command"], run)
    if finished(run):
        return
    run.parent.mkdir(parents=True, exist_ok=True)
    print(f"{name}: {command}", flush=True)
    words, known = command.split()[2:], {}
    if branch and not begun:
        known = {"trunk": Starts(branch.with_name(f"{branch.name}.starts")).about()}
    if branch and not begun:
        words += ["--from", str(branch)]
        trunk.check_same(branch, train_config(words))
    starts.add(command, anew=not begun, **known)
    how = ["--resume", str(run)] if begun else [*words, "--out", str(run), "--overwrite"]
    status = _wait_for([sys.executable, "-m", "xinet_jax.cli", "train", *how])
    if status == 2:  # refused: nothing was started
        starts.drop_last()
    if status:
        sys.exit(f"{name}: training ended with code {status}; the same command goes on from where it was")


def command_of(task: str, arm: str, folder: Path, options: Iterable[str] = ()) -> str:
    """Returns the command that trains one arm on one task, but for its run folder."""
    places = {other: os.path.relpath(folder / task / other) for other in ARMS}
    shown = ARMS[arm].options.format(share=SHARES.get(task), price=ARMS[arm].price, **places)
    return _command(task, ARMS[arm], shown, options)


def _command(task: str, arm: Arm, shown: str, options: Iterable[str] = ()) -> str:
    seeds = f"--seeds {arm.seeds or SEEDS[task]} --steps {arm.steps}"
    words: dict[str, str] = {}  # by the option: a later one takes the place of an earlier one
    for option in re.findall(r"--\S+(?: (?!--)\S+)*", " ".join(["--task", task, seeds, shown, *options])):
        words[option.split()[0]] = option
    return " ".join(["xinet train", *words.values()])


def finished(run: Path) -> bool:
    """Returns whether a run has come to its end, every saved policy's last episodes included."""
    records = read_records(run) if run.exists() else []
    taken = {r["member"] for r in records if r["kind"] == "gymnasium"}
    return bool(taken) and taken == {r["member"] for r in records if "member" in r}


def _check_same(command: str, other: str, where: Path) -> None:
    if command != other:
        sys.exit(f"{where} was made by `{other}`, not by `{command}`: remove it, or give --runs and --results")


def _wait_for(command: list[str]) -> int:
    """Runs a command; signals reach it once each, by us, and it has the time that it needs to end."""
    with subprocess.Popen(command, start_new_session=True) as process:

        def pass_on(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
