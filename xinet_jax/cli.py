"""The command `xinet`: train, evaluate, inspect, render, tasks."""

import argparse
import contextlib
import dataclasses
import functools
import io
import json
import logging
import os
import re
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape

from xinet_jax.config import Config, check, field_names, load_config, preset_config, value_text, varied
from xinet_jax.errors import UserError, nearest
from xinet_jax.evaluation import evaluate
from xinet_jax.orbax_files import quiet_loops
from xinet_jax.policy import find_policies, in_policy, load_policy, load_structure
from xinet_jax.tasks.registry import describe_task, task_names
from xinet_jax.telemetry.json_lines import finite
from xinet_jax.telemetry.tables import evaluations_table, layers_table, left, options_table, returns_table, tasks_table
from xinet_jax.telemetry.trade_off import trade_off_table
from xinet_jax.training import runner
from xinet_jax.training.members import identities
from xinet_jax.training.results import trade_off
from xinet_jax.training.run_folder import CONFIG_FILE, POLICY_FOLDER, TRADE_OFF_FIGURE, TRADE_OFF_TABLE
from xinet_jax.training.signals import Abandoned

_DESCRIPTION = "Train reinforcement-learning agents that prune themselves while they learn."


@dataclasses.dataclass(frozen=True)
class EvaluateArguments:
    """Run saved policies in Gymnasium's own environment, or where it does not have the task, in the task itself."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A run folder, or one of its policy/seed_N folders."""
    episodes: int = 10
    """Episodes per policy [episodes]."""
    seed: int = 0
    """Reset seed of the first episode; the others count up from it [integer]."""
    json: bool = False
    """Print one JSON object instead of a table."""


@dataclasses.dataclass(frozen=True)
class InspectArguments:
    """Show what is left of saved policies' networks: widths, parameters and FLOPs against the dense start."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A run folder, or one of its policy/seed_N folders."""
    json: bool = False
    """Print one JSON object instead of a table."""


@dataclasses.dataclass(frozen=True)
class RenderArguments:
    """Film one episode of a saved policy, off screen."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A policy/seed_N folder, or a run folder that holds one."""
    out: str = "policy.gif"
    """File to write: .gif; .mp4 with the extra `video`; .html, a page with Brax's viewer, with the extra `brax`
    [path]."""
    seed: int = 0
    """Of the episode's first state [integer]."""
    seconds: float | None = None
    """How much of the episode to film at most; all of it if none [s]."""
    width: int | None = None
    """Width of the picture; none: 480. Not for .html [pixels]."""
    height: int | None = None
    """Height of the picture; none: 360. Not for .html [pixels]."""


@dataclasses.dataclass(frozen=True)
class TasksArguments:
    """List the tasks: what is observed, what OFENet predicts, actions, episodes, engines, options."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TASK]")] = None
    """A task, to see its options."""
    json: bool = False
    """Print one JSON object instead of a table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake of the user, 128 + n after signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's: what matters of it is told in one line of ours
    quiet_loops()
    commands = {"train": _train, "evaluate": _evaluate, "inspect": _inspect, "render": _render, "tasks": _tasks}
    try:
        arguments = _import_tasks(arguments)
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_usage(), file=sys.stdout if arguments else sys.stderr)
            return 0 if arguments else 2
        if arguments[0] not in commands:
            match = nearest(arguments[0], commands)
            hint = f"did you mean '{match}'? " if match else ""
            raise UserError(f"unknown command '{arguments[0]}': {hint}allowed: {', '.join(commands)}")
        return commands[arguments[0]](arguments[1:])
    except UserError as error:
        with contextlib.suppress(OSError):
            print(f"xinet: {error}", file=sys.stderr, flush=True)
        return 2
    except Abandoned as stop:
        with contextlib.suppress(OSError):
            print(f"xinet: {stop}", file=sys.stderr, flush=True)
        os._exit(128 + stop.number)  # at once: a compilation under way would hold an orderly exit up
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def train_config(arguments: list[str]) -> Config:
    """Returns the configuration that the arguments of `xinet train` describe. Raises UserError for mistakes."""
    chosen, _ = _preset_parser().parse_known_args(arguments)
    if chosen.resume is not None:
        defaults = dataclasses.replace(load_config(Path(chosen.resume) / CONFIG_FILE), resume=chosen.resume)
    else:
        defaults = preset_config(chosen.task, chosen.preset, chosen.agent)
    config = _parse(Config, arguments, "xinet train", defaults)
    check(config)
    return config


def _train(arguments: list[str]) -> int:
    config = train_config(arguments)
    _use_compilation_cache()
    result = runner.train(config)
    lost = len(result.seeds) < len(identities(result.config))
    status = 128 + signal.Signals[result.interrupted] if result.interrupted else int(lost)
    if jax.process_index() > 0:
        return status  # the first process speaks for all
    console = _console()
    rows = [
        (own.structure, own.curve[-1][1] if own.curve else np.nan, own.returns, own.trouble) for own in result.seeds
    ]
    console.print(returns_table(rows))
    names = varied(config)
    if names:
        console.print(trade_off_table(trade_off(result)))
        file = result.folder / (TRADE_OFF_FIGURE if "nu" in names else TRADE_OFF_TABLE)
        console.print(f"Trade-off curve: {escape(str(file))}", highlight=False, soft_wrap=True)
    else:
        console.print(layers_table([seed.structure for seed in result.seeds]))
    console.print(f"Policies: {escape(str(result.folder / POLICY_FOLDER))}", highlight=False, soft_wrap=True)
    return status


def _evaluate(arguments: list[str]) -> int:
    given = _parse(EvaluateArguments, arguments, "xinet evaluate")
    if given.episodes < 1:
        raise UserError(f"episodes must be at least 1, not {given.episodes}")
    if given.seed < 0:
        raise UserError(f"seed must be 0 or more, not {given.seed}")

    policies = [(folder, load_policy(folder)) for folder in find_policies(given.path)]
    found = []
    for folder, policy in policies:
        returns = evaluate(policy, given.episodes, given.seed, progress=True)
        found.append(
            {
                "policy": str(folder),
                "task": policy.structure.task,
                "nu": policy.structure.nu,
                "settings": policy.structure.settings,
                "seed": policy.structure.seed,
                "parameters": policy.structure.parameters,
                "mean": float(returns.mean()),
                "standard_deviation": float(returns.std()),
                "returns": [float(value) for value in returns],
            }
        )
    if given.json:
        print(json.dumps(finite({"episodes": given.episodes, "policies": found})))
        return 0
    structures = [policy.structure for _, policy in policies]
    _console().print(evaluations_table(zip(structures, (row["returns"] for row in found), strict=True)))
    return 0


def _inspect(arguments: list[str]) -> int:
    given = _parse(InspectArguments, arguments, "xinet inspect")

    structures = [(folder, load_structure(folder)) for folder in find_policies(given.path)]
    if given.json:
        found = []
        for folder, structure in structures:
            summary = {
                "policy": str(folder),
                "policy_bytes": _bytes(folder),
                "parameters_left": left(structure.layers),
                "flops_left": left(structure.layers, "flops"),
                "policy_parameters_left": left(layer for layer in structure.layers if in_policy(layer)),
            }
            rows = [layer._asdict() for layer in structure.layers]
            found.append(summary | dataclasses.asdict(structure) | {"layers": rows})
        print(json.dumps({"policies": found}))
        return 0
    console = _console()
    for folder, structure in structures:
        before = sum(layer.parameters_before for layer in structure.layers if in_policy(layer))
        price = "" if structure.nu is None else f", nu {value_text(structure.nu)}"
        price += "".join(f", {name} {value_text(value)}" for name, value in structure.settings.items())
        console.print(
            f"{escape(str(folder))}: {structure.agent} on {structure.task}, seed {structure.seed}{price}, after "
            f"{structure.environment_steps:,} steps; {structure.parameters:,} parameters needed to act "
            f"({structure.parameters / before:.0%} of the dense agent's {before:,}), "
            f"{_bytes(folder):,} bytes",
            highlight=False,
            soft_wrap=True,
        )
        console.print(layers_table([structure]))
    return 0


def _render(arguments: list[str]) -> int:
    given = _parse(RenderArguments, arguments, "xinet render")
    from xinet_jax.rendering import render

    frames = render(load_policy(given.path), given.out, given.seed, given.seconds, given.width, given.height, True)
    _console().print(f"{escape(given.out)}: {frames} frame{'s' * (frames > 1)}", highlight=False, soft_wrap=True)
    return 0


def _tasks(arguments: list[str]) -> int:
    given = _parse(TasksArguments, arguments, "xinet tasks")
    found = [describe_task(name) for name in ([given.name] if given.name else task_names())]
    if given.json:
        print(json.dumps(finite({"tasks": found})))
        return 0
    _console().print(tasks_table(found))
    if given.name:
        _console().print(options_table(found[0]["options"]))
    return 0


def _import_tasks(arguments: list[str]) -> list[str]:
    """Runs the user's own Python files that register tasks; returns the arguments without them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--import", dest="files", action="append", default=[], nargs=1)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            chosen, rest = parser.parse_known_args(arguments)
    except SystemExit:
        raise UserError("--import needs a Python file that registers tasks") from None
    for (file,) in chosen.files:
        if not Path(file).is_file():
            raise UserError(f"--import needs a Python file that registers tasks: there is no file {file}")
        runpy.run_path(file)
    return rest


def _usage() -> str:
    return "\n".join(
        [
            "usage: xinet {train,evaluate,inspect,render,tasks} ... [--help]",
            "",
            _DESCRIPTION,
            "",
            "  train     train, prune, save and evaluate agents",
            "  evaluate  run saved policies, in Gymnasium's own environment where it has the task",
            "  inspect   show what is left of saved policies' networks",
            "  render    film a saved policy",
            "  tasks     list the tasks: sizes, engines, options",
            "",
            "`xinet COMMAND --help` explains its options. With `--import FILE.py` a command first runs a file of",
            "your own that registers tasks (docs/tasks.md).",
        ]
    )


def _preset_parser() -> argparse.ArgumentParser:
    """Returns a parser for the fields on which all other defaults depend."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for field in dataclasses.fields(Config):
        if field.name in ("task", "preset", "agent"):
            parser.add_argument(f"--{field.name}", default=field.default, nargs="?", const=field.default)
    parser.add_argument("--resume", nargs="?")
    return parser


def _parse(kind: type, arguments: list[str], program: str, default: object = None) -> Any:
    """Parses a command's options. tyro explains them; its errors are told again in one line."""
    options = {} if default is None else {"default": default}
    parse = functools.partial(tyro.cli, kind, prog=program, config=(tyro.conf.OmitArgPrefixes,), **options)
    if {"-h", "--help"} & set(arguments):
        return parse(args=["--help"])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return parse(args=arguments)
    except SystemExit:
        raise UserError(_one_line(said.getvalue(), arguments, kind)) from None


def _one_line(said: str, arguments: list[str], kind: type) -> str:
    """Returns what tyro said as one line, with the nearest option for an unknown one.

    tyro says it in sections between rules: a title, the message, help.
    """
    sections = [" ".join(section.split()) for section in re.split(r"(?m)^ *-+ *$", said)]
    message = sections[1] if len(sections) > 1 else " ".join(said.split())
    if not message.startswith("Unrecognized options"):
        return f"{message.rstrip('.')}. See --help"
    names = _option_names(kind)
    options = [argument.split("=")[0] for argument in arguments if argument.startswith("-")]
    for option in options:
        match = nearest(option.lstrip("-").replace("-", "_"), names)
        if option.lstrip("-").replace("-", "_") not in names:
            hint = f"did you mean --{match.replace('_', '-')}? " if match else ""
            return f"unknown option {option}: {hint}See --help"
    return f"{message}. See --help"


def _option_names(kind: type) -> set[str]:
    names = set(field_names()) if kind is Config else {field.name for field in dataclasses.fields(kind)}
    return names | {f"no_{name}" for name in names} | {"help", "h"}


def _console() -> Console:
    """Returns where results are printed. What goes to a file needs no column cut short."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _use_compilation_cache() -> None:
    """Keeps compiled programs from run to run, unless the user has chosen a place for them."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xinet_jax"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs are many


if __name__ == "__main__":
    sys.exit(main())
