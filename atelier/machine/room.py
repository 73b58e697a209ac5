"""Whether this process may use as much memory as the demo needs; says so before it starts, since the kernel kills without a word.

python -m atelier.machine.room
"""

from __future__ import annotations

import os
import sys

from atelier.machine.cores import cgroups, read_limit

ENOUGH = 1.5 * 2**30
"""Bytes with which the demo's steps have room: training, the largest, holds 1.2 GiB, of which the libraries are half."""


def memory() -> float:
    """Bytes that this process may use: the machine's, or what a cgroup allows (memory.max, in cgroup 1 memory.limit_in_bytes)."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    words = (read_limit(group, "memory.max", "memory.limit_in_bytes") for group in cgroups("memory"))
    return min([machine, *(int(limit) for (limit,) in filter(None, words) if limit.isdigit())])


def main() -> None:
    if (limit := memory()) < ENOUGH:
        print(
            f"there are {limit / 2**30:.1f} GiB of memory, the demo needs {ENOUGH / 2**30:.1f}: if the kernel kills a step "
            "(exited with -9), give this machine or container more",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
