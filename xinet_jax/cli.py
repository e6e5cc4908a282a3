"""The command `xinet`: train, evaluate, inspect, render, tasks."""

import argparse
import contextlib
import dataclasses
import functools
import importlib
import io
import json
import logging
import os
import re
import runpy
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape

from xinet_jax.config import Config, check, field_types, load_config, preset_config, value_text, varied
from xinet_jax.errors import UserError, brief, nearest
from xinet_jax.tasks.catalogue import BUILT_IN
from xinet_jax.tasks.registry import describe_task, task_names
from xinet_jax.telemetry.console import FittingConsole, never_raise
from xinet_jax.telemetry.json_lines import finite
from xinet_jax.training.branch_config import branch_defaults, check_branch
from xinet_jax.training.run_folder import CONFIG_FILE, POLICY_FOLDER, TRADE_OFF_FIGURE, TRADE_OFF_TABLE
from xinet_jax.training.signals import Abandoned

# What computes is imported by the commands that compute: JAX and MuJoCo take seconds to load.

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


@dataclasses.dataclass(frozen=True)
class _TrainArguments(Config):
    branch_from: Annotated[str | None, tyro.conf.arg(name="from")] = None  # a field cannot be called `from`


_TrainArguments.__doc__ = Config.__doc__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake of the user, 128 + n after signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        never_raise(stream)
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
    if not {"-h", "--help"} & set(arguments):
        _refuse_repetition(arguments, _TrainArguments)
    chosen, _ = _preset_parser().parse_known_args(arguments)
    if chosen.resume is not None and chosen.branch_from is not None:
        raise UserError("--from starts a new run, --resume goes on with an old one: choose one")
    if chosen.resume is not None:
        defaults = dataclasses.replace(load_config(Path(chosen.resume) / CONFIG_FILE), resume=chosen.resume)
    elif chosen.branch_from is not None:
        defaults = branch_defaults(chosen.branch_from, chosen.agent)
    else:
        names = {"task": Config.task, "preset": Config.preset, "agent": Config.agent}
        defaults = preset_config(**{name: getattr(chosen, name) or default for name, default in names.items()})
    parsed = _parse(_TrainArguments, arguments, "xinet train", _TrainArguments(**vars(defaults)))
    config = Config(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(Config)})
    if chosen.branch_from is not None:
        check_branch(config, load_config(Path(chosen.branch_from) / CONFIG_FILE))
    check(config)
    return config


def _train(arguments: list[str]) -> int:
    config = train_config(arguments)
    _load_libraries()
    _keep_compiled_programs()
    import jax
    import numpy as np

    from xinet_jax.policy.tables import layers_table, returns_table
    from xinet_jax.training import run as runner
    from xinet_jax.training.members import identities
    from xinet_jax.training.results import trade_off
    from xinet_jax.training.trade_off import trade_off_table

    result = runner.train(config)
    lost = len(result.seeds) < len(identities(result.config))
    status = 128 + signal.Signals[result.interrupted] if result.interrupted else int(lost)
    if jax.process_index() > 0:
        return status  # the first process speaks for all
    console = _console()
    rows = [
        (member.structure, member.curve[-1][1] if member.curve else np.nan, member.returns, member.trouble)
        for member in result.seeds
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
    options = _parse(EvaluateArguments, arguments, "xinet evaluate")
    if options.episodes < 1:
        raise UserError(f"episodes must be at least 1, not {options.episodes}")
    if options.seed < 0:
        raise UserError(f"seed must be 0 or more, not {options.seed}")
    _start_jax()
    from xinet_jax.policy.evaluation import evaluate_until_interrupted
    from xinet_jax.policy.files import find_policies, load_policy
    from xinet_jax.policy.tables import evaluations_table

    policies = [(folder, load_policy(folder)) for folder in find_policies(options.path)]
    summaries, evaluated, interrupted, finished = [], [], False, 0
    for folder, policy in policies:
        returns, interrupted = evaluate_until_interrupted(policy, options.episodes, options.seed, progress=True)
        finished += len(returns)
        if not len(returns):
            break
        evaluated.append((policy.structure, returns))
        summaries.append(
            {
                "policy": str(folder),
                "task": policy.structure.task,
                "nu": policy.structure.nu,
                "settings": policy.structure.settings,
                "seed": policy.structure.seed,
                "parameters": policy.structure.parameters,
                "episodes": len(returns),
                "mean": float(returns.mean()),
                "standard_deviation": float(returns.std()),
                "returns": [float(value) for value in returns],
            }
        )
        if interrupted:
            break
    if options.json:
        print(json.dumps(finite({"episodes": options.episodes, "policies": summaries}), allow_nan=False))
    elif evaluated:
        _console().print(evaluations_table(evaluated))
    if interrupted:
        total = options.episodes * len(policies)
        print(f"xinet: interrupted after {finished:,} of {total:,} episodes", file=sys.stderr, flush=True)
    return 128 + signal.SIGINT if interrupted else 0


def _inspect(arguments: list[str]) -> int:
    options = _parse(InspectArguments, arguments, "xinet inspect")
    _load_libraries()
    from xinet_jax.networks.complexity import left
    from xinet_jax.policy.files import find_policies
    from xinet_jax.policy.structure import load_structure, structure_as_json
    from xinet_jax.policy.tables import layers_table

    structures = [(folder, load_structure(folder)) for folder in find_policies(options.path)]
    if options.json:
        summaries = []
        for folder, structure in structures:
            summary = {
                "policy": str(folder),
                "policy_bytes": _bytes(folder),
                "parameters_left": left(structure.layers),
                "flops_left": left(structure.layers, "flops"),
                "policy_parameters_left": left(layer for layer in structure.layers if layer.in_policy),
            }
            summaries.append(summary | structure_as_json(structure))
        print(json.dumps({"policies": summaries}, allow_nan=False))
        return 0
    console = _console()
    for folder, structure in structures:
        before = sum(layer.parameters_before for layer in structure.layers if layer.in_policy)
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
    options = _parse(RenderArguments, arguments, "xinet render")
    _start_jax()
    from xinet_jax.policy.files import load_policy
    from xinet_jax.policy.rendering import render

    frames = render(
        load_policy(options.path), options.out, options.seed, options.seconds, options.width, options.height, True
    )
    _console().print(f"{escape(options.out)}: {frames} frame{'s' * (frames > 1)}", highlight=False, soft_wrap=True)
    return 0


def _tasks(arguments: list[str]) -> int:
    options = _parse(TasksArguments, arguments, "xinet tasks")
    from xinet_jax.tasks.options import as_json
    from xinet_jax.tasks.tables import options_table, tasks_table

    names = [options.name] if options.name else task_names()
    if not {*names} & {*task_names()} <= {*BUILT_IN}:  # a user's task has to be loaded for its sizes
        _start_jax()
    descriptions = [describe_task(name) for name in names]
    if options.json:
        described = [task | {"options": as_json(task["options"])} for task in descriptions]
        print(json.dumps(finite({"tasks": described}), allow_nan=False))
        return 0
    _console().print(tasks_table(descriptions))
    if not options.name:
        print("gymnasium/NAME: any environment of Gymnasium's registry with continuous actions, as it is")
    elif descriptions[0]["options"]:
        _console().print(options_table(descriptions[0]["options"]))
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
        try:
            runpy.run_path(file)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of whatever kind, sys.exit() too: the file is the user's
            raise UserError(f"--import {file}{_line_of(file, error)}: {_reason(error)}") from None
    return rest


def _line_of(file: str, error: BaseException) -> str:
    """Returns where in a file an error arose, or nothing if that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines and lines[-1] else ""


def _reason(error: BaseException) -> str:
    """Returns what an error of a user's file says, in one line."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it ends Python by sys.exit({brief(error.code, quoted=True)})"
    words = error.msg if isinstance(error, SyntaxError) else (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__


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
            parser.add_argument(f"--{field.name}", nargs="?")
    parser.add_argument("--resume", nargs="?")
    parser.add_argument("--from", dest="branch_from", nargs="?")
    return parser


def _parse(kind: type, arguments: list[str], program: str, default: object = None) -> Any:
    """Parses a command's options. tyro explains them; its errors are told again in one line."""
    options = {} if default is None else {"default": default}
    parse = functools.partial(tyro.cli, kind, prog=program, config=(tyro.conf.OmitArgPrefixes,), **options)
    if {"-h", "--help"} & set(arguments):
        return parse(args=["--help"])
    _refuse_repetition(arguments, kind)
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return parse(args=arguments)
    except SystemExit:
        raise UserError(_one_line(output.getvalue(), arguments, kind)) from None


def _refuse_repetition(arguments: list[str], kind: type) -> None:
    """Raises UserError for an option that is there twice, of which the last alone would count."""
    types = _option_types(kind)
    options: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    repeated = name = None
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option.startswith("--"):
            name = option.removeprefix("--").replace("-", "_")
            name = name if name in types else name.removeprefix("no_")
            repeated = repeated or (name if name in types and name in options else None)
            if repeated == name and types[name] is bool and options[name] != option:
                raise UserError(f"options {options[name]} and {option} exclude each other: choose one")
            options[name] = option
            values.setdefault(name, []).extend([value] if value else [])
        elif name:
            values[name].append(argument)
    if repeated and "tuple" in str(types[repeated]):
        several = brief(" ".join([options[repeated], *values[repeated]]))
        raise UserError(f"option {options[repeated]} is repeated: give it once, with all values: {several}")
    if repeated:
        raise UserError(f"option {options[repeated]} is repeated: give it once")


def _one_line(output: str, arguments: list[str], kind: type) -> str:
    """Returns what tyro said as one line, with the nearest option for an unknown one.

    tyro says it in sections between rules: a title, the message, help.
    """
    sections = [" ".join(section.split()) for section in re.split(r"(?m)^ *-+ *$", output)]
    message = sections[1] if len(sections) > 1 else " ".join(output.split())
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
    names = _option_types(kind)
    return {*names, *(f"no_{name}" for name in names), "help", "h"}


def _option_types(kind: type) -> dict[str, Any]:
    if kind is not _TrainArguments:
        return {field.name: field.type for field in dataclasses.fields(kind)}
    return {"from" if name == "branch_from" else name: hint for name, hint in field_types().items()}


def _console() -> Console:
    """Returns where results are printed. What goes to a file needs no column cut short."""
    console = FittingConsole()
    return console if console.is_terminal else FittingConsole(width=140)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _start_jax() -> None:
    """Loads what computes, and starts it. Raises UserError if that cannot be done."""
    _load_libraries()
    _keep_compiled_programs()
    from xinet_jax.training.devices import start_jax

    start_jax()


def _load_libraries() -> None:
    """Loads what computes.

    Raises:
      UserError: if JAX or MuJoCo cannot be loaded, as with nonsense in their environment variables.
    """
    for name in ("jax", "mujoco"):
        try:
            importlib.import_module(name)
        except Exception as error:  # of whatever kind
            raise UserError(f"cannot load {name}: {_reason(error)}") from None
    from xinet_jax.compat.orbax import quiet_loops

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's: what matters of it is told in one line of ours
    quiet_loops()


def _keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, or where the user has chosen. Says if that cannot be done."""
    import jax

    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs are many
    # When the disk is full, JAX would say so for every program.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen and "://" in chosen:
        return
    try:
        folder = Path(chosen or _cache_folder())
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        trouble = f"cannot write to {folder}: {error.strerror}"
        if folder.is_dir():  # what is in it can still be read
            jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
        else:
            jax.config.update("jax_enable_compilation_cache", False)
    except RuntimeError:
        trouble = "this user has no home folder"
        jax.config.update("jax_enable_compilation_cache", False)
    advice = "JAX_COMPILATION_CACHE_DIR can name another folder"
    with contextlib.suppress(OSError):
        print(f"xinet: compiled programs are not kept: {trouble}; {advice}", file=sys.stderr, flush=True)


def _cache_folder() -> Path:
    """Returns the user's cache folder. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xinet_jax"


if __name__ == "__main__":
    sys.exit(main())
