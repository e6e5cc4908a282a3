"""The command `xinet`: train, evaluate, inspect, render, tasks, runs, log."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from xinet_jax.command_line.imports import import_tasks
from xinet_jax.command_line.options import EvaluateArguments, InspectArguments, RenderArguments, TasksArguments
from xinet_jax.command_line.parsing import parse, train_config
from xinet_jax.command_line.start import keep_compiled_programs, load_libraries, start_jax
from xinet_jax.config import value_text, varied
from xinet_jax.errors import UserError, nearest
from xinet_jax.tasks.catalogue import BUILT_IN
from xinet_jax.tasks.registry import check_name, describe_task, task_names
from xinet_jax.telemetry.console import FittingConsole, never_raise
from xinet_jax.telemetry.json_lines import finite
from xinet_jax.training.run_folder import POLICY_FOLDER, TRADE_OFF_FIGURE, TRADE_OFF_TABLE
from xinet_jax.training.signals import Abandoned

# What computes is imported by the commands that compute: JAX and MuJoCo take seconds to load.

_DESCRIPTION = "Train reinforcement-learning agents that prune themselves while they learn."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake of the user, 128 + n after signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        never_raise(stream)
    commands = {"train": _train, "evaluate": _evaluate, "inspect": _inspect, "render": _render, "tasks": _tasks}
    commands |= {"runs": _runs, "log": _log}
    try:
        arguments = import_tasks(arguments)
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


def _train(arguments: list[str]) -> int:
    config = train_config(arguments)
    load_libraries()
    keep_compiled_programs()
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
    options = parse(EvaluateArguments, arguments, "xinet evaluate")
    if options.episodes < 1:
        raise UserError(f"episodes must be at least 1, not {options.episodes}")
    if options.seed < 0:
        raise UserError(f"seed must be 0 or more, not {options.seed}")
    start_jax()
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
    options = parse(InspectArguments, arguments, "xinet inspect")
    load_libraries()
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
    options = parse(RenderArguments, arguments, "xinet render")
    start_jax()
    from xinet_jax.policy.files import load_policy
    from xinet_jax.policy.rendering import render

    frames = render(
        load_policy(options.path), options.out, options.seed, options.seconds, options.width, options.height, True
    )
    _console().print(f"{escape(options.out)}: {frames} frame{'s' * (frames > 1)}", highlight=False, soft_wrap=True)
    return 0


def _tasks(arguments: list[str]) -> int:
    options = parse(TasksArguments, arguments, "xinet tasks")
    from xinet_jax.tasks.options import as_json
    from xinet_jax.tasks.tables import options_table, tasks_table

    names = [options.name] if options.name else task_names()
    for name in names:
        check_name(name)
    if not {*names} <= {*BUILT_IN}:  # a user's task has to be loaded for its sizes
        start_jax()
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


def _runs(arguments: list[str]) -> int:
    from xinet_jax.command_line.runs import runs

    return runs(arguments, _console())


def _log(arguments: list[str]) -> int:
    from xinet_jax.command_line.log import log

    return log(arguments, _console())


def _usage() -> str:
    return "\n".join(
        [
            "usage: xinet {train,evaluate,inspect,render,tasks,runs,log} ... [--help]",
            "",
            _DESCRIPTION,
            "",
            "  train     train, prune, save and evaluate agents",
            "  evaluate  run saved policies, in Gymnasium's own environment where it has the task",
            "  inspect   show what is left of saved policies' networks",
            "  render    film a saved policy",
            "  tasks     list the tasks: sizes, engines, options",
            "  runs      list the runs below a folder, and what has become of them",
            "  log       make a run's curves for TensorBoard or Weights & Biases",
            "",
            "`xinet COMMAND --help` explains its options. With `--import FILE.py` a command first runs a file of",
            "your own that registers tasks (docs/tasks.md).",
        ]
    )


def _console() -> Console:
    """Returns where results are printed. What goes to a file needs no column cut short."""
    console = FittingConsole()
    return console if console.is_terminal else FittingConsole(width=140)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
