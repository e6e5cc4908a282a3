"""The options of each command."""

import dataclasses
from typing import Annotated

import tyro

from xinet_jax.config import Config


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
class ExportArguments:
    """Write a saved policy to a file that acts without this package, and check that it computes the same."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """A policy/seed_N folder, or a run folder that holds one."""
    out: str
    """File to write; its ending is the format's [path]."""
    format: str | None = None
    """onnx (.onnx, with the extra `onnx`), stablehlo (.stablehlo, for JAX, with the extra `stablehlo`), numpy (.npz,
    and a Python file that reads it), c (.h, C99); None: by the ending of the file [name]."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclasses.dataclass(frozen=True)
class ReportArguments:
    """Write a report of runs: one HTML page with charts, which needs no network. Several runs are compared."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run folders."""
    out: str = "report.html"
    """File to write [path]."""
    overwrite: bool = False
    """Replace the file, if there is one."""


@dataclasses.dataclass(frozen=True)
class TasksArguments:
    """List the tasks: what is observed, what OFENet predicts, actions, episodes, engines, options."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TASK]")] = None
    """A task, to see its options."""
    json: bool = False
    """Print one JSON object instead of a table."""


@dataclasses.dataclass(frozen=True)
class RunsArguments:
    """List the runs below a folder, the one first that wrote metrics last."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER]")] = "."
    """Where to look, in all folders below it too [path]."""
    json: bool = False
    """Print one JSON object instead of a table."""


@dataclasses.dataclass(frozen=True)
class LogArguments:
    """Make a run's curves from its metrics: of a run that was trained without them, or when a service was away."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    to: tuple[str, ...]
    """Where to: tensorboard, wandb or both [names]."""


@dataclasses.dataclass(frozen=True)
class TrainArguments(Config):
    branch_from: Annotated[str | None, tyro.conf.arg(name="from")] = None  # a field cannot be called `from`


TrainArguments.__doc__ = Config.__doc__
