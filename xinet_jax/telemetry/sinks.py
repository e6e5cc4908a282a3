"""Where a run's scalars go beside `metrics.jsonl`: one small class for each logger."""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from xinet_jax.errors import UserError
from xinet_jax.packages import is_installed
from xinet_jax.telemetry.scalars import Scalars, scalars_of

_SINKS = {"tensorboard": "xinet_jax.telemetry.tensorboard:TensorBoard", "wandb": "xinet_jax.telemetry.wandb:Wandb"}
SINK_FOLDERS = tuple(_SINKS)  # each writes to a folder of its own name in the run folder


class Curves(NamedTuple):
    """What curves are drawn of.

    Attributes:
      folder: the run folder.
      members: every member's hyper-parameters, by the member's name.
      began: when the run would have begun if it had never been interrupted [seconds since the epoch].
    """

    folder: Path
    members: dict[str, dict[str, Any]]
    began: float


@runtime_checkable
class Sink(Protocol):
    """A logger, opened as `Sink(curves)`. It begins all curves anew: it is given every record from the run's start."""

    def write(self, member: str, scalars: Scalars) -> None:
        """Takes a member's scalars."""

    def close(self) -> None:
        """Waits until everything is written."""


def chosen_sinks(names: Iterable[str]) -> list[str]:
    """Returns the loggers among the names that `--log` takes.

    Raises:
      UserError: if the package of one of them is missing.
    """
    chosen = [name for name in names if name in _SINKS]
    for name in chosen:
        if not is_installed(name):
            raise UserError(f"log {name} needs the extra '{name}': pip install 'xinet_jax[{name}]'")
    return chosen


def open_sink(name: str, curves: Curves) -> Sink:
    """Returns a logger by its name. Its package is imported here."""
    module, _, kind = _SINKS[name].partition(":")
    return getattr(importlib.import_module(module), kind)(curves)


def draw(sink: Sink, curves: Curves, records: Iterable[Mapping[str, Any]]) -> None:
    """Gives a logger the scalars of records of metrics. A record about no member in particular goes to all of them."""
    for record in records:
        scalars = scalars_of(record)
        if scalars is not None and scalars.values:
            for member in curves.members if scalars.member is None else [scalars.member]:
                sink.write(member, scalars)
