"""Cores that a process may use: what it is bound to and what its container's CPU quota pays for; the cgroups that limit it."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use, at least 1: those that it is bound to, or fewer where a cgroup has a quota."""
    return min([bound(), *(math.ceil(quota) for quota in map(_quota, cgroups("cpu")) if quota)])


def bound() -> int:
    """Cores that this process is bound to: all of the machine, unless somebody has chosen some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS binds none


def cgroups(controller: str) -> list[Path]:
    """Folders of this process's cgroups and of those around them; a container sees its own as the mount itself."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            own = Path(path.lstrip("/"))
            mount = MOUNT / controller if controllers else MOUNT
            found += [mount / group for group in [own, *own.parents] if ".." not in group.parts]
    return found


def read_limit(group: Path, *names: str) -> list[str]:
    """The words of the first of the files `names` that a cgroup has; none without any."""
    for name in names:
        with contextlib.suppress(OSError):
            return (group / name).read_text(encoding="utf-8").split()
    return []


def _quota(group: Path) -> float | None:
    """The quota of one cgroup in cores, None without one: `cpu.max` of cgroup 2, `cpu.cfs_quota_us` of cgroup 1."""
    quota, period = (*read_limit(group, "cpu.max", "cpu.cfs_quota_us"), *read_limit(group, "cpu.cfs_period_us"), "", "")[:2]
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
