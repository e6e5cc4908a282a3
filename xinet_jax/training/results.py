"""What became of a run, read from its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xinet_jax.config import Config, load_config, varied
from xinet_jax.errors import UserError, first_line
from xinet_jax.networks.complexity import left
from xinet_jax.policy.structure import Structure, load_structure
from xinet_jax.telemetry.json_lines import number, read_json_lines
from xinet_jax.training.frames import data_frame
from xinet_jax.training.members import Identity, identities
from xinet_jax.training.phases import PHASES
from xinet_jax.training.run_folder import CONFIG_FILE, POLICY_FOLDER, TRADE_OFF_FIGURE, TRADE_OFF_TABLE, metrics_files
from xinet_jax.training.trade_off import Point, save_figure, save_table
from xinet_jax.training.trouble import trouble


class MemberResult(NamedTuple):
    """What became of one member: one seed, with one combination of hyper-parameters.

    Attributes:
      seed: the seed.
      nu: its price [nats]; None for agents without one.
      settings: its other hyper-parameters, by name, of which the run has several values.
      folder: its policy folder.
      structure: the saved policy's structure, with every layer's sizes before and after.
      curve: `(environment steps, mean return)` of every evaluation during training.
      diverged: environment steps by which it had diverged, and learnt nothing more; None if it did not.
      bad_transitions: how many of its transitions were not finite, and so not stored.
      returns: returns of the saved policy by `xinet_jax.evaluate`, `[episodes]`; None if the run was interrupted.
    """

    seed: int
    nu: float | None
    settings: dict[str, float]
    folder: Path
    structure: Structure
    curve: tuple[tuple[int, float], ...]
    diverged: int | None
    bad_transitions: int
    returns: np.ndarray | None

    @property
    def trouble(self) -> str:
        """What went wrong with it, in a few words."""
        return trouble(self.diverged, self.bad_transitions)


class Result(NamedTuple):
    """What became of a run.

    Attributes:
      folder: the run folder.
      config: the configuration, as saved.
      seeds: one result per seed, for each combination of hyper-parameters.
      environment_steps: steps taken per seed.
      interrupted: the name of the signal that ended it early, or None.
    """

    folder: Path
    config: Config
    seeds: tuple[MemberResult, ...]
    environment_steps: int
    interrupted: str | None

    def metrics(self, library: str | None = None) -> Any:
        """Returns the metrics of the run as a data frame: a row for each record, as they stand in its folder now.

        Columns are the entries of the records, the first of them `kind`, `member` and `seed`. The units of a layer are
        in `units/NETWORK/LAYER`. What a record has no entry for is missing.

        Args:
          library: pandas or polars; None: the first of them that is installed.

        Raises:
          UserError: if the library is not installed, or is neither of them.
        """
        return data_frame(read_records(self.folder), library)


def load_result(folder: Path | str) -> Result:
    """Reads what has become of a run from its folder. The run may still be training, or interrupted.

    Args:
      folder: the run folder.

    Returns:
      The result. `seeds` holds the members whose policies are saved, which a run does at its end, and `interrupted` is
      None.

    Raises:
      UserError: if it is no run folder, or its files are damaged.
    """
    folder = Path(folder)
    config = load_config(folder / CONFIG_FILE)
    everyone = identities(config)
    try:
        records = read_records(folder)
        steps = max((record["environment_steps"] for record in records), default=0)
        finished = read_members(folder, everyone)
    except (OSError, KeyError, TypeError) as error:
        raise UserError(f"cannot read the metrics of {folder}: {type(error).__name__}: {first_line(error)}") from None
    return Result(folder, config, finished, steps, None)


def read_members(folder: Path, everyone: Sequence[Identity]) -> tuple[MemberResult, ...]:
    """Returns what a run folder says of those members whose policies it holds."""
    curves: dict[str, list[tuple[int, float]]] = {identity.folder: [] for identity in everyone}
    returns: dict[str, np.ndarray] = {}
    diverged: dict[str, int] = {}
    bad = dict.fromkeys(curves, 0)
    for record in read_records(folder):
        if record["kind"] == "evaluation":
            curves[record["member"]].append((record["environment_steps"], number(record["return"])))
        elif record["kind"] == "gymnasium":
            returns[record["member"]] = np.array([number(value) for value in record["returns"]])
        elif record["kind"] in PHASES:
            bad[record["member"]] += record.get("bad_transitions", 0)
            if record.get("diverged"):
                diverged.setdefault(record["member"], record["environment_steps"])
    results = []
    for identity in everyone:
        path = folder / POLICY_FOLDER / identity.folder
        if path.exists():
            curve = tuple(curves[identity.folder])
            results.append(
                MemberResult(
                    seed=identity.seed,
                    nu=identity.nu,
                    settings=identity.settings,
                    folder=path,
                    structure=load_structure(path),
                    curve=curve,
                    diverged=diverged.get(identity.folder),
                    bad_transitions=bad[identity.folder],
                    returns=returns.get(identity.folder),
                )
            )
    return tuple(results)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Returns the metrics of all processes, without lines that are not complete."""
    return [record for file in metrics_files(folder) if file.exists() for record in read_json_lines(file)]


def trade_off(result: Result) -> list[Point]:
    """Returns each member's hyper-parameters, parameters left, and return.

    The return is the saved policy's, or the newest evaluation's where that was not taken.
    """
    points = []
    for member in result.seeds:
        newest = member.curve[-1][1] if member.curve else np.nan
        value = newest if member.returns is None else float(np.mean(member.returns))
        settings = {name: member.nu if name == "nu" else member.settings[name] for name in varied(result.config)}
        points.append(Point(settings, member.seed, left(member.structure.layers), value))
    return points


def save_trade_off(result: Result) -> None:
    """Writes the trade-off curve of a run with several values of a hyper-parameter; the figure if nu is one."""
    names = varied(result.config)
    if names and result.seeds:
        points = trade_off(result)
        save_table(points, result.folder / TRADE_OFF_TABLE)
        if "nu" in names:
            save_figure(points, result.config.task, result.folder / TRADE_OFF_FIGURE)
