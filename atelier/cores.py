"""Cores that a process may use: what it is bound to and what its container's CPU quota pays for."""

from __future__ import annotations

import math
import os
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use, at least 1: those that it is bound to, or fewer where a cgroup has a quota."""
    return min([bound(), *(math.ceil(quota) for quota in _quotas())])


def bound() -> int:
    """Cores that this process is bound to: all of the machine, unless somebody has chosen some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS binds none


def _quotas() -> list[float]:
    """Quotas in cores of this process's cgroups and of those around them; a container sees its own as the mount itself."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mount = MOUNT if not controllers else MOUNT / "cpu" if "cpu" in controllers.split(",") else None
        own = Path(path.lstrip("/"))
        for group in [own, *own.parents] if mount else []:
            quota = _quota(mount / group) if ".." not in group.parts else None
            if quota:
                found.append(quota)
    return found


def _quota(group: Path) -> float | None:
    """The quota of one cgroup in cores, None without one: `cpu.max` of cgroup 2, `cpu.cfs_quota_us` of cgroup 1."""
    try:
        try:
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        except FileNotFoundError:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None
