"""`xinet runs`: what has become of the runs below a folder, read from the ends of their files. JAX is not loaded."""

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from xinet_jax.command_line.console import console
from xinet_jax.command_line.options import RunsArguments
from xinet_jax.command_line.parsing import parse
from xinet_jax.config import SWEPT, Config, read_config, to_flat
from xinet_jax.errors import UserError
from xinet_jax.telemetry.json_lines import finite, lines_from_end
from xinet_jax.telemetry.progress import short, whole
from xinet_jax.training.phases import PHASES
from xinet_jax.training.run_folder import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    LOCK_FILE,
    METRICS_FILE,
    metrics_files,
    state_of,
)


class Ends(NamedTuple):
    """What the newest lines of a file of metrics say. Values are those of members, by their names.

    Attributes:
      steps: environment steps.
      returns: mean returns of the newest evaluation.
      left: shares of parameters left.
      finished: environment steps at which saved policies were evaluated, the last thing that a run does.
      diverged: members that have diverged.
    """

    steps: int
    returns: dict[str, float]
    left: dict[str, float]
    finished: dict[str, int]
    diverged: set[str]


def run(arguments: list[str]) -> int:
    """Runs the command with its arguments, and returns its exit code."""
    options = parse(RunsArguments, arguments, "xinet runs")
    top = Path(options.folder)
    if not top.is_dir():
        raise UserError(f"{top} is not a folder" if top.exists() else f"{top} does not exist")
    found = sorted(((_changed(folder), folder) for folder in run_folders(top)), key=lambda run: (-run[0], run[1]))
    summaries = [summarise(folder) for _, folder in found]
    if options.json:
        print(json.dumps(finite({"runs": summaries}), allow_nan=False))
    elif summaries:
        console().print(runs_table(summaries, top))
    else:
        print(f"no runs in {top.resolve()}")
    return 0


def run_folders(top: Path) -> Iterator[Path]:
    """Yields the run folders below a folder, or the folder itself if it is one.

    Hidden folders are left out. A folder with several names, by symbolic links, is looked at once. What cannot be read
    is told of on standard error.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            about = folder.stat()
            entries = [] if (about.st_dev, about.st_ino) in seen else list(os.scandir(folder))
            seen.add((about.st_dev, about.st_ino))
            if _is_run({entry.name for entry in entries}):
                yield folder
            else:
                waiting += [folder / entry.name for entry in entries if entry.name[0] != "." and _is_folder(entry)]
        except OSError as error:
            print(f"xinet: cannot read {folder}: {error.strerror}", file=sys.stderr)


def _is_folder(entry: os.DirEntry) -> bool:
    """Returns whether it is a folder, or a symbolic link to one that does not lead in a circle."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _is_run(names: set[str]) -> bool:
    """Returns whether a folder with files of these names is one that a run writes to."""
    return len(names & {CONFIG_FILE, METRICS_FILE, LOCK_FILE, CHECKPOINT_FOLDER}) >= 2


def _changed(folder: Path) -> float:
    """Returns when the metrics of a run were last written [seconds since the epoch]."""
    try:
        return max((file.stat().st_mtime for file in metrics_files(folder) if file.exists()), default=0.0)
    except OSError:  # removed since it was seen, or not to be read
        return 0.0


def summarise(folder: Path) -> dict[str, Any]:
    """Returns what is known of a run, as JSON has it. Of a damaged run most is null."""
    summary = dict.fromkeys(("task", "agent", "members", "environment_steps", "steps", "return", "parameters_left"))
    summary = {"folder": str(folder)} | summary | {"state": "damaged"}
    try:
        summary |= _settings(folder)
        ends = [_ends(file) for file in metrics_files(folder) if file.exists()]
    except UserError as error:
        return summary | {"trouble": str(error)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return summary | {"trouble": f"metrics cannot be read: {type(error).__name__}"}
    steps = max((end.steps for end in ends), default=0)
    finished = [at >= summary["steps"] or name in end.diverged for end in ends for name, at in end.finished.items()]
    return summary | {
        "environment_steps": steps,
        "return": _mean([value for end in ends for value in end.returns.values()]),
        "parameters_left": _mean([value for end in ends for value in end.left.values()]),
        "state": state_of(folder, sum(finished) == summary["members"]),
    }


def _settings(folder: Path) -> dict[str, Any]:
    """Returns what a run's configuration says, whose values are not checked: its task may be the user's own."""
    fields = to_flat(Config()) | read_config(folder / CONFIG_FILE)
    several = [fields[name] for name in SWEPT if isinstance(fields[name], list)]
    numbers = {name: fields[name] for name in ("seeds", "steps")}
    if not all(type(number) is int for number in numbers.values()):
        raise UserError(f"{folder / CONFIG_FILE}: seeds and steps must be whole numbers")
    members = math.prod(map(len, several), start=numbers["seeds"])
    return {"task": str(fields["task"]), "agent": str(fields["agent"]), "members": members, "steps": numbers["steps"]}


def _ends(file: Path) -> Ends:
    """Returns what the newest lines of a file of metrics say; it is read from its end, as far as that takes.

    The members' lines about the same evaluation, or segment, stand together.
    """
    ends, evaluated, trained = Ends(0, {}, {}, {}, set()), False, False
    for line in lines_from_end(file):
        record = json.loads(line)
        kind, member, steps = record["kind"], record.get("member"), record["environment_steps"]
        ends = ends._replace(steps=max(ends.steps, steps))
        evaluated |= bool(ends.returns) and (kind != "evaluation" or member in ends.returns)
        trained |= bool(ends.left) and (kind not in PHASES or member in ends.left)
        if kind == "gymnasium":
            ends.finished.setdefault(member, steps)
        elif kind == "evaluation" and not evaluated:
            ends.returns[member] = math.nan if record["return"] is None else record["return"]
        elif kind in PHASES and not trained:
            ends.left[member] = record["parameters_left"]
            ends.diverged.update([member] if record["diverged"] else [])
        if evaluated and trained:
            break
    return ends


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def runs_table(summaries: list[dict[str, Any]], top: Path) -> Table:
    """Returns one line per run.

    Args:
      summaries: of the runs.
      top: the folder that they are below.
    """
    table = Table()
    for heading in ("run", "task"):
        table.add_column(heading, overflow="fold")
    for heading in ("agent", "members", "step", "return", "left", "state"):
        numbers = heading in ("members", "step", "return", "left")
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=True)
    for summary in summaries:
        steps, value, left = (summary[name] for name in ("environment_steps", "return", "parameters_left"))
        table.add_row(
            escape(os.path.relpath(summary["folder"], top)),
            escape(summary["task"] or ""),
            escape(summary["agent"] or ""),
            str(summary["members"] or ""),
            "" if steps is None else f"{short(steps)}/{short(summary['steps'])}",
            "" if value is None else whole(value),
            "" if left is None else f"{left:.0%}",
            summary["state"],
        )
    return table
