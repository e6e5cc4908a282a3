"""The small files that a finished run leaves in `results/TASK/ARM/`.

`config.yaml` and `about.yaml` say what was run and how; `final.csv` has a line per member, `course.csv` a line per
member and evaluation, `speed.csv` a line per thousand steps; `policy/MEMBER/policy.json` has every layer's width, and
is what `--widths-from` reads.
"""

import csv
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from xinet_jax.networks.complexity import LayerCount, left
from xinet_jax.policy.files import find_policies
from xinet_jax.policy.structure import load_structure
from xinet_jax.training.results import read_records

FOLDER = Path(__file__).parent / "results"


def save(run: Path, folder: Path, about: dict[str, Any]) -> None:
    """Writes a finished run's results.

    Args:
      run: its run folder.
      folder: where the files go; replaced as a whole.
      about: what is known of how it was run.
    """
    records = read_records(run)
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for own in find_policies(run):
        (aside / "policy" / own.name).mkdir(parents=True)
        shutil.copy(own / "policy.json", aside / "policy" / own.name)
    (aside / "config.yaml").write_text(yaml.safe_dump(_configuration(run), sort_keys=False))
    (aside / "about.yaml").write_text(yaml.safe_dump(about, sort_keys=False))
    _write(aside / "final.csv", _final(run, records))
    _write(aside / "course.csv", _course(records))
    _write(aside / "speed.csv", _speed(records))
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def about(folder: Path) -> dict[str, Any]:
    """Returns what is known of how results were made; nothing if there are none."""
    path = folder / "about.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def read(folder: Path, name: str) -> list[dict[str, float]]:
    """Returns the lines of `final`, `course` or `speed` as numbers; what is not there is NaN, or no file no lines."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


def column(rows: Iterable[dict[str, float]], name: str) -> np.ndarray:
    """Returns one column, `[lines]`."""
    return np.array([row[name] for row in rows])


def grouped(rows: Iterable[dict[str, float]], name: str) -> dict[float, list[dict[str, float]]]:
    """Returns the lines by the values of a column, in ascending order."""
    found: dict[float, list[dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return dict(sorted(found.items()))


def late_returns(course: list[dict[str, float]], without: Iterable[int] = ()) -> np.ndarray:
    """Returns each seed's mean return over the evaluations in the last fifth of its steps, `[seeds]`.

    One policy says little of the agent that learns it: from one evaluation to the next returns may halve or double.

    Args:
      course: a line per seed and evaluation.
      without: environment steps of evaluations to leave out.

    Raises:
      ValueError: if that leaves none.
    """
    last = column(course, "environment_steps").max()
    late = [row for row in course if row["environment_steps"] > 0.8 * last and row["environment_steps"] not in without]
    if not late:
        raise ValueError(f"no evaluation is left of the last fifth without steps {' '.join(map(str, without))}")
    return np.array([column(own, "return").mean() for own in grouped(late, "seed").values()])


def _configuration(run: Path) -> dict[str, Any]:
    """Returns a run's configuration, with paths from where it was started."""
    nested = yaml.safe_load((run / "config.yaml").read_text())
    for section, name in ((nested, "out"), (nested["networks"], "widths_from")):
        section[name] = section[name] and os.path.relpath(section[name])
    return nested


def _final(run: Path, records: list[dict]) -> list[dict[str, Any]]:
    """Returns a line per member: what is left of it, what went wrong with it, and its returns in Gymnasium."""
    rows = []
    for path in find_policies(run):
        structure = load_structure(path)
        own = [record for record in records if record.get("member") == path.name]
        (found,) = [record for record in own if record["kind"] == "gymnasium"]
        layers = structure.layers
        row: dict[str, Any] = {"seed": structure.seed, "nu": structure.nu}
        row |= {"parameters": sum(layer.parameters for layer in layers), "policy_parameters": structure.parameters}
        row |= {"parameters_left": left(layers), "flops_left": left(layers, "flops")}
        for network in ("ofenet", "actor", "critic"):
            row[f"{network}_left"] = _left([layer for layer in layers if layer.network.startswith(network)])
        row["policy_left"] = left([layer for layer in layers if layer.in_policy])
        row["diverged"] = int(any(record.get("diverged", False) for record in own))
        row["bad_transitions"] = sum(record.get("bad_transitions", 0) for record in own)
        row["return"] = found["return"]
        row |= {f"return_{k + 1}": value for k, value in enumerate(found["returns"])}
        rows.append(row)
    return rows


def _course(records: list[dict]) -> list[dict[str, Any]]:
    """Returns a line per member and evaluation: return, what is left, and every layer's units at that step."""
    key = lambda record: (record["environment_steps"], record["member"])  # noqa: E731
    trained = {key(record): record for record in records if record["kind"] == "train"}
    rows = []
    for record in records:
        if record["kind"] == "evaluation" and key(record) in trained:
            beside = trained[key(record)]
            row = {name: beside.get(name) for name in ("seed", "nu", "environment_steps", "seconds")}
            row |= {"parameters": beside["parameters"], "return": record["return"]}
            rows.append(row | beside.get("units", {}))
    return rows


def _speed(records: list[dict]) -> list[dict[str, Any]]:
    """Returns updates per second of all members together, at each line of metrics."""
    rows: dict[int, dict[str, Any]] = {}
    for record in records:
        if record["kind"] == "train":
            start = {name: record[name] for name in ("environment_steps", "seconds")} | {"updates_per_second": 0.0}
            row = rows.setdefault(record["environment_steps"], start)
            row["updates_per_second"] += record["iterations_per_second"]
    return list(rows.values())


def _left(layers: list[LayerCount]) -> float | None:
    return left(layers) if layers else None


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else (), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: _short(value) for key, value in row.items()} for row in rows])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
