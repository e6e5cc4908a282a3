"""What a run folder says of its run, as plain data. Nothing here needs JAX."""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from xinet_jax.config import Config, load_config, to_flat, varied
from xinet_jax.errors import UserError, brief
from xinet_jax.networks.layer_count import LayerCount
from xinet_jax.policy.layers import read_layers
from xinet_jax.telemetry.json_lines import number, read_json_lines
from xinet_jax.training.run_folder import (
    CONFIG_FILE,
    POLICY_FOLDER,
    STARTS_FILE,
    metrics_files,
    state_of,
)
from xinet_jax.training.trouble import trouble

# Entries of the metrics that the report shows over environment steps, beside the return of evaluations.
ENTRIES = ("episode_return", "parameters_left", "flops", "iterations_per_second")
ENTRIES += ("auxiliary_loss", "critic_loss", "actor_loss", "temperature", "entropy", "price", "action_value")


class Curve(NamedTuple):
    """A number over environment steps, both `[points]`; NaN where it is not finite."""

    steps: Int[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]


class Compaction(NamedTuple):
    """A compaction, as its line of metrics has it: rates in environment steps per second, None if not measured."""

    steps: int
    flops_left: float
    seconds: float
    rate_before: float | None
    rate_after: float | None


@dataclasses.dataclass(frozen=True)
class MemberRecord:
    """What is known of one member: one seed with one combination of hyper-parameters.

    Attributes:
      name: of its policy folder.
      seed: the seed.
      settings: the hyper-parameters of which the run has several values, by name.
      curves: by `return` (of evaluations) and the names in `ENTRIES`.
      units: units left in each layer, by `network/layer`.
      returns: of the saved policy's episodes, `[episodes]`; None before it was evaluated.
      trained: environment steps of the policy that `returns` are of.
      diverged: environment steps by which it had diverged; None if it did not.
      bad_transitions: how many of its transitions were not finite.
      layers: the saved policy's agent, layer by layer; () before one is saved.
    """

    name: str
    seed: int
    settings: dict[str, float]
    curves: dict[str, Curve]
    units: dict[str, Curve]
    returns: Float[np.ndarray, " episodes"] | None
    trained: int
    diverged: int | None
    bad_transitions: int
    layers: tuple[LayerCount, ...]

    @property
    def final_return(self) -> float:
        """Mean return of the saved policy, or else the newest evaluation's; NaN if there is neither."""
        if self.returns is not None:
            return float(np.mean(self.returns))
        evaluations = self.curves["return"].values
        return float(evaluations[-1]) if len(evaluations) else math.nan

    @property
    def parameters_left(self) -> float:
        """Share of the dense agent's parameters that is left; NaN if nothing says it."""
        values = self.curves["parameters_left"].values
        return float(values[-1]) if len(values) else math.nan

    @property
    def flops_left(self) -> Curve:
        """Share of the dense agent's FLOPs that is left, over environment steps; no points if nothing says it."""
        flops, dense = self.curves["flops"], self._dense_flops
        return Curve(flops.steps, flops.values / dense) if dense else Curve(flops.steps[:0], flops.values[:0])

    @property
    def _dense_flops(self) -> float | None:
        if self.layers:
            return float(sum(layer.flops_before for layer in self.layers))
        flops, left = self.curves["flops"].values, self.curves["parameters_left"].values
        return float(flops[0]) if len(flops) and left[0] == 1.0 else None

    @property
    def policy_parameters(self) -> tuple[int, int] | None:
        """Parameters needed to act, before pruning and after; None before a policy is saved."""
        needed = [layer for layer in self.layers if layer.in_policy]
        before, after = (sum(getattr(row, field) for row in needed) for field in ("parameters_before", "parameters"))
        return (before, after) if needed else None

    def widths(self) -> dict[str, tuple[int, int]]:
        """Returns units before pruning and now, by `network/layer`."""
        if self.layers:
            return {f"{row.network}/{row.name}": (row.units_before, row.units) for row in self.layers}
        return {name: (int(c.values.max()), int(c.values[-1])) for name, c in self.units.items()}

    @property
    def trouble(self) -> str:
        """What went wrong with it, in a few words."""
        return trouble(self.diverged, self.bad_transitions)


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What is known of a run.

    Attributes:
      name: what it is called: its folder, as it was named.
      config: its configuration.
      members: those that have metrics, in the order of the run.
      compactions: in order.
      starts: what each start of the run ran with (`xinet_jax.training.starts`); () for older runs.
      steps: environment steps taken by each member so far.
      seconds: training time so far [s].
      state: `finished`, `running` or `interrupted`.
    """

    name: str
    config: Config
    members: tuple[MemberRecord, ...]
    compactions: tuple[Compaction, ...]
    starts: tuple[dict[str, Any], ...]
    steps: int
    seconds: float
    state: str

    @property
    def prunes(self) -> bool:
        """Whether its agents can have fewer units than at the start."""
        return self.config.pruner != "none"


def read_run(folder: Path, running: bool | None = None) -> RunRecord:
    """Returns what a run folder says of its run.

    Args:
      folder: the run folder.
      running: whether it is still training; None: as the lock in its folder says.

    Raises:
      UserError: if it is no run folder, has no metrics yet, or is damaged.
    """
    if not os.path.isfile(folder / CONFIG_FILE):  # not Path's, which raises for names that are too long
        raise UserError(f"{brief(str(folder))} is no run folder: it has no {CONFIG_FILE}")
    config = load_config(folder / CONFIG_FILE)
    try:
        members, compactions, steps, seconds = _read_metrics(folder, varied(config))
    except OSError as error:
        raise UserError(f"cannot read the metrics of {folder}: {error.strerror}") from None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"damaged metrics in {folder}: {type(error).__name__}: {error}") from None
    if not members:
        raise UserError(f"{folder} has no metrics yet: nothing can be reported of it")
    state = _state(config, members, folder, running)
    return RunRecord(str(folder), config, members, compactions, _starts(folder), steps, seconds, state)


def _read_metrics(
    folder: Path, names: Sequence[str]
) -> tuple[tuple[MemberRecord, ...], tuple[Compaction, ...], int, float]:
    """Returns members, compactions, environment steps and seconds. `names`: of what the run has several values."""
    drafts: dict[str, _Draft] = {}
    compactions, steps, seconds = [], 0, 0.0
    for file in metrics_files(folder):
        for record in read_json_lines(file) if file.exists() else ():
            kind, steps = record["kind"], max(steps, int(record["environment_steps"]))
            seconds = max(seconds, _finite(record.get("seconds", 0.0)))
            if kind == "compaction":
                compactions.append(_compaction(record))
            elif "member" in record:
                drafts.setdefault(record["member"], _Draft(record, names)).add(kind, record)
    ordered = sorted(drafts.values(), key=lambda draft: (*draft.settings.values(), draft.seed))
    members = tuple(draft.finished(folder / POLICY_FOLDER) for draft in ordered)
    if len({tuple(name for of in (member.widths(), member.units) for name in of) for member in members}) > 1:
        raise ValueError("its members have different layers")
    return members, tuple(compactions), steps, seconds


class _Draft:
    """A member while its lines are read, one after the other."""

    def __init__(self, record: dict[str, Any], names: Sequence[str]) -> None:
        self.name, self.seed = str(record["member"]), int(record["seed"])
        self.settings = {name: float(record[name]) for name in names}
        self._points: dict[str, list[tuple[int, float]]] = {name: [] for name in ("return", *ENTRIES)}
        self._layers: tuple[str, ...] = ()
        self._units: dict[int, tuple[int, ...]] = {}  # of every layer, by environment steps
        self._returns: np.ndarray | None = None
        self._trained, self._diverged, self._bad_transitions = 0, None, 0

    def add(self, kind: str, record: dict[str, Any]) -> None:
        """Takes in a line about the member."""
        steps = int(record["environment_steps"])
        if kind == "evaluation":
            self._points["return"].append((steps, number(record["return"])))
            return
        if kind == "gymnasium":
            self._returns, self._trained = np.array([number(value) for value in record["returns"]]), steps
            return
        self._bad_transitions += int(record.get("bad_transitions", 0))
        if record.get("diverged") and self._diverged is None:
            self._diverged = steps
        if kind == "pretrain":  # environment steps stand still
            return
        for name in ENTRIES if kind == "train" else ("episode_return", "parameters_left", "flops"):
            if name in record and not (name == "episode_return" and record[name] is None):  # no episode ended
                self._points[name].append((steps, number(record[name])))
        units = record["units"]
        self._layers = self._layers or tuple(units)
        if self._layers != tuple(units):
            raise ValueError(f"{self.name} has other layers at step {steps}")
        self._units[steps] = tuple(units.values())

    def finished(self, policies: Path) -> MemberRecord:
        """Returns the member. `policies`: where saved policies are."""
        steps = np.array(list(self._units), np.int64)
        units = np.array(list(self._units.values()), np.float64).reshape(len(steps), len(self._layers))
        layers = read_layers(policies / self.name)
        if layers and self._layers and self._layers != tuple(f"{row.network}/{row.name}" for row in layers):
            raise ValueError(f"the policy of {self.name} has other layers than its metrics")
        return MemberRecord(
            self.name,
            self.seed,
            self.settings,
            {name: _curve(points) for name, points in self._points.items()},
            {name: Curve(steps, units[:, column]) for column, name in enumerate(self._layers)},
            self._returns,
            self._trained,
            self._diverged,
            self._bad_transitions,
            layers,
        )


def _curve(points: list[tuple[int, float]]) -> Curve:
    """Returns a curve, with the newest of several values at the same step."""
    newest = dict(points)
    return Curve(np.array(list(newest), np.int64), np.array(list(newest.values()), np.float64))


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return float(value)


def _compaction(record: dict[str, Any]) -> Compaction:
    rates = (record.get(name) for name in ("iterations_per_second_before", "iterations_per_second"))
    before, after = (None if rate is None else _finite(rate) for rate in rates)
    figures = _finite(record["flops_of_arrays_left"]), _finite(record["compaction_seconds"])
    return Compaction(int(record["environment_steps"]), *figures, before, after)


def _starts(folder: Path) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(record for record in read_json_lines(folder / STARTS_FILE) if isinstance(record, dict))
    except OSError:
        return ()


def _state(config: Config, members: tuple[MemberRecord, ...], folder: Path, running: bool | None) -> str:
    """Returns `finished`, `running` or `interrupted`."""
    flat = to_flat(config)
    expected = config.seeds * math.prod(len(flat[name]) for name in varied(config))
    trained = (member for member in members if member.trained >= config.steps or member.diverged is not None)
    finished = sum(member.returns is not None for member in trained) >= expected
    if running is None:
        return state_of(folder, finished)
    return "running" if running else "finished" if finished else "interrupted"
