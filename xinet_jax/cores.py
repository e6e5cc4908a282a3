"""The CPU's cores."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS, _MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Returns the number of CPU cores that this process may use, at least 1.

    It may run on so many, or use so much of their time, as in containers: whichever is less.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def cpu_quota(groups: Path = _GROUPS, mount: Path = _MOUNT) -> float | None:
    """Returns how much CPU time Linux's control groups allow, or None without a limit [CPU seconds per second].

    Args:
      groups: the file that names this process's groups.
      mount: the folder of all groups.
    """
    return min(_quotas(groups, mount), default=None)


def _quotas(groups: Path, mount: Path) -> Iterator[float]:
    """Yields the limit of every group that holds this process, of version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`)."""
    for line in (_read(groups) or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        hierarchies = [mount] if number == "0" else [mount / controllers, mount / "cpu"]
        group = Path(path.lstrip("/"))
        # A limit holds for the groups within. In a container the path can be that of the host, which is not there.
        for folder in (hierarchy / parent for hierarchy in hierarchies for parent in (group, *group.parents)):
            text = _read(folder / "cpu.max")
            if text is None:
                text = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
            quota, _, period = text.strip().partition(" ")
            if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):
                yield int(quota) / int(period)


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None
