"""What is known of each time that a run was started: a file of JSON lines beside its folder."""

import importlib.metadata
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from xinet_jax.cores import available_cores

PACKAGES = ("jax", "jaxlib", "flax", "mujoco", "gymnasium", "numpy")


class Starts(NamedTuple):
    """The starts of one run.

    Attributes:
      path: the file.
    """

    path: Path

    def add(self, command: str, anew: bool, **known: Any) -> None:
        """Notes a start, and what else is known of it.

        Args:
          command: the command.
          anew: there is no run to go on with, so what was noted before is of another.
          known: what else, as JSON.
        """
        start = {"command": command, "code": code_version(), "processor": processor(), "cores": available_cores()}
        start |= {"python": platform.python_version()}
        start |= {"packages": {name: importlib.metadata.version(name) for name in PACKAGES}}
        start |= known
        with self.path.open("w" if anew else "a") as file:
            file.write(f"{json.dumps(start, allow_nan=False)}\n")

    def drop_last(self) -> None:
        """Takes the newest start back."""
        self.path.write_text("".join(self.path.read_text().splitlines(keepends=True)[:-1]))

    def about(self) -> dict[str, Any]:
        """Returns the first start, how often the run was resumed, and versions of the code that differ from its own."""
        first, *later = map(json.loads, self.path.read_text().splitlines())
        others = [code for code in dict.fromkeys(start["code"] for start in later) if code != first["code"]]
        return first | {"resumed": len(later)} | ({"resumed_by_code": others} if others else {})


def code_version() -> str:
    """Returns the commit, and whether files differ from it; `unknown` outside a repository or without git."""
    if shutil.which("git") is None:
        return "unknown"
    ask = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: E731
    changed = "+changes" if ask("status", "--porcelain", "--", "xinet_jax", "experiments/claims/*.py") else ""
    return f"{ask('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"


def processor() -> str:
    """Returns the name of the processor, as Linux knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
