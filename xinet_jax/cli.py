"""The command `xinet`. Each of its commands is a module of `xinet_jax.command_line`."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from xinet_jax.command_line.imports import import_tasks
from xinet_jax.errors import UserError, nearest
from xinet_jax.telemetry.console import never_raise
from xinet_jax.training.signals import Abandoned

# What computes is imported by the commands that compute: JAX and MuJoCo take seconds to load.
COMMANDS = {
    "train": "train, prune, save and evaluate agents",
    "evaluate": "run saved policies, in Gymnasium's own environment where it has the task",
    "inspect": "show what is left of saved policies' networks",
    "render": "film a saved policy",
    "export": "write a saved policy as ONNX, StableHLO, NumPy or C",
    "report": "show runs on one HTML page, and compare them",
    "runs": "list the runs below a folder, and what has become of them",
    "log": "make a run's curves for TensorBoard or Weights & Biases",
    "tasks": "list the tasks: sizes, engines, options",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 2 for a mistake of the user, 128 + n after signal n."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        never_raise(stream)
    try:
        arguments = import_tasks(arguments)
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_usage(), file=sys.stdout if arguments else sys.stderr)
            return 0 if arguments else 2
        if arguments[0] not in COMMANDS:
            match = nearest(arguments[0], COMMANDS)
            hint = f"did you mean '{match}'? " if match else ""
            raise UserError(f"unknown command '{arguments[0]}': {hint}allowed: {', '.join(COMMANDS)}")
        return importlib.import_module(f"xinet_jax.command_line.{arguments[0]}").run(arguments[1:])
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


def _usage() -> str:
    return "\n".join(
        [
            f"usage: xinet {{{','.join(COMMANDS)}}} ... [--help]",
            "",
            "Train reinforcement-learning agents that prune themselves while they learn.",
            "",
            *(f"  {name:<9} {what}" for name, what in COMMANDS.items()),
            "",
            "`xinet COMMAND --help` explains its options. With `--import FILE.py` a command first runs a file of",
            "your own that registers tasks (docs/tasks.md) or pruners.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
