"""Results of a script that may be cut off at any time: each is written as soon as there is one."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from experiments.claims.starts import code_version
from xinet_jax.cores import available_cores
from xinet_jax.telemetry.json_lines import JsonLines

PACKAGES = ("jax", "jaxlib", "flax", "mujoco", "mujoco-mjx", "warp-lang", "rejax")


def machine() -> dict[str, Any]:
    """Returns what a result depends on besides the code: card, driver, versions, commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "card": _card(),
        "commit": os.environ.get("COMMIT") or code_version(),
        "host_cores": available_cores(),
        "python": platform.python_version(),
        "versions": versions,
        "flags": os.environ.get("XLA_FLAGS", ""),
    }


def _card() -> str | None:
    command = "nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader"
    try:
        return subprocess.run(command.split(), capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


class Report:
    """A file of JSON lines, one per part of a script, and the time that is left.

    Args:
      file: where the lines go. It is begun anew.
      seconds: how long the script may take. Parts that would begin later are left out, and the file says so.
    """

    def __init__(self, file: Path, seconds: float):
        self._begun, self._seconds = time.monotonic(), seconds
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lines = JsonLines(file, keep=0)
        self.write("machine", machine())

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self._seconds - (time.monotonic() - self._begun)

    def write(self, name: str, result: dict[str, Any]) -> None:
        """Writes a line, and prints it."""
        self._lines.write({"name": name} | result)
        print(f"[{self._seconds - self.left():5.0f} s] {name}: {result}", flush=True)
