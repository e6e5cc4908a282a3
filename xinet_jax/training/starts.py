"""What each start of a run ran with: the time, versions of packages, devices, and the commit of this package."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from xinet_jax.telemetry.json_lines import JsonLines
from xinet_jax.training.run_folder import STARTS_FILE
from xinet_jax.training.setup import Setup

# What results depend on. Those that are not installed are left out.
_PACKAGES = ("xinet_jax", "jax", "jaxlib", "flax", "optax", "distrax", "numpy", "mujoco", "mujoco-mjx", "gymnasium")
_PACKAGES += ("playground", "brax", "warp-lang", "orbax-checkpoint")


def record_start(folder: Path, setup: Setup, steps: int) -> None:
    """Writes a line about this start of a run.

    Args:
      folder: the run folder.
      setup: what the run trains with.
      steps: environment steps that its members have taken before.
    """
    devices = setup.mesh.devices.flat
    entries = {
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "environment_steps": steps,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "devices": setup.mesh.size,
        "device": devices[0].device_kind,
        "cores": os.cpu_count(),
        "commit": commit(),
        "packages": versions(),
    }
    with contextlib.closing(JsonLines(folder / STARTS_FILE)) as file:
        file.write(entries)


def versions() -> dict[str, str]:
    """Returns the versions of the packages that results depend on, by name."""
    installed = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def commit() -> str | None:
    """Returns the commit of the checkout that this package is in, with `+` if files differ from it; else None."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head, changes = (_git(root, *words) for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"]))
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changes else "")


def _git(root: Path, *words: str) -> str:
    command: list[Any] = ["git", "-C", root, *words]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
