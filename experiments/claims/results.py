"""The small files that a finished run leaves in `results/TASK/ARM/`: config.yaml, about.yaml, final.csv, course.csv."""

import csv
import importlib.metadata
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from xinet_jax.complexity import LayerCount
from xinet_jax.cores import available_cores
from xinet_jax.policy import find_policies, in_policy, load_structure
from xinet_jax.telemetry.tables import left
from xinet_jax.training.results import read_records

FOLDER = Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "mujoco", "gymnasium", "numpy")


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
    shutil.copy(run / "config.yaml", aside)
    machine = {"processor": _processor(), "cores": available_cores(), "python": platform.python_version()}
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    (aside / "about.yaml").write_text(yaml.safe_dump(about | machine | {"packages": versions}, sort_keys=False))
    _write(aside / "final.csv", _final(run, records))
    _write(aside / "course.csv", _course(records))
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def read(folder: Path, name: str) -> list[dict[str, float]]:
    """Returns the lines of `final` or `course` as numbers; what is not there is NaN, or no file no lines."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]


def column(rows: Iterable[dict[str, float]], name: str) -> np.ndarray:
    """Returns one column, `[lines]`."""
    return np.array([row[name] for row in rows])


def _final(run: Path, records: list[dict]) -> list[dict[str, Any]]:
    """Returns a line per member: what is left of it, and its returns in Gymnasium."""
    rows = []
    for path in find_policies(run):
        structure = load_structure(path)
        (found,) = [r for r in records if r["kind"] == "gymnasium" and r["member"] == path.name]
        layers = structure.layers
        row: dict[str, Any] = {"seed": structure.seed, "nu": structure.nu, "parameters": structure.parameters}
        row |= {"parameters_left": left(layers), "flops_left": left(layers, "flops")}
        for network in ("ofenet", "actor", "critic"):
            row[f"{network}_left"] = _left([own for own in layers if own.network.startswith(network)])
        row["policy_left"] = left([own for own in layers if in_policy(own)])
        row["return"] = found["return"]
        row |= {f"return_{k + 1}": value for k, value in enumerate(found["returns"])}
        rows.append(row)
    return rows


def _course(records: list[dict]) -> list[dict[str, Any]]:
    """Returns a line per member and evaluation: return, speed, and every layer's units at that step."""
    key = lambda record: (record["environment_steps"], record["member"])  # noqa: E731
    trained = {key(record): record for record in records if record["kind"] == "train"}
    rows = []
    for record in records:
        if record["kind"] == "evaluation" and key(record) in trained:
            beside = trained[key(record)]
            row = {name: beside.get(name) for name in ("seed", "nu", "environment_steps", "seconds")}
            row |= {name: beside[name] for name in ("iterations_per_second", "parameters_left")}
            row["return"] = record["return"]
            rows.append(row | beside.get("units", {}))
    return rows


def _left(layers: list[LayerCount]) -> float | None:
    return left(layers) if layers else None


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{key: _short(value) for key, value in row.items()} for row in rows])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
