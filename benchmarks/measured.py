"""What the benchmarks share: commands timed in processes of their own, the machine they ran on, tables."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from atelier.io.files import atomic_write

# Stands between, for a process starts with the peak of the one that made it; prints seconds and kilobytes last.
WATCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print()
print(time.perf_counter() - began, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Watched:
    """A command from start to end: seconds, the peak of its largest process in MB, and what it said on stdout."""

    seconds: float
    megabytes: float
    stdout: str


def watched(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Runs Python with the arguments `command`, and `environment` beside its own. Ends with what it said where it fails."""
    print(f"{name} ...", file=sys.stderr)
    whole = [sys.executable, "-c", WATCH, sys.executable, *command]
    done = subprocess.run(whole, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode:
        sys.exit(f"{done.stderr}{done.stdout}")
    seconds, kilobytes = done.stdout.split()[-2:]
    return Watched(float(seconds), int(kilobytes) / 1024, done.stdout)


def peak_megabytes() -> float:
    """Most memory that this process has held so far, in MB (ru_maxrss would begin with that of the process that made it)."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def own_megabytes() -> float:
    """Memory that this process holds for itself, in MB: without pages of mapped files, which the system takes back at need."""
    found = re.search(r"RssAnon:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def computing_seconds() -> float:
    """Processor time so far of this process and of those that it started through multiprocessing: what else runs takes none."""
    own, ticks = os.times(), os.sysconf("SC_CLK_TCK")
    stats = [
        Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split() for child in multiprocessing.active_children()
    ]
    return own.user + own.system + own.children_user + own.children_system + sum(int(s[11]) + int(s[12]) for s in stats) / ticks


def spread(values: Sequence[float]) -> str:
    """Mean over the seeds and, where there are several, the lowest and the highest value."""
    between = f" ({min(values):.4g} … {max(values):.4g})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{between}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, all columns but the first aligned to the right."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] + ["---:"] * (len(header) - 1), *rows)]


def machine(packages: Sequence[str], gpu: str | None = None) -> str:
    """What the numbers were measured on, and the versions of packages."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else []
    where = gpu or next(iter(names), platform.processor())
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    cores = len(os.sched_getaffinity(0))
    return f"{where}, {cores} cores, load {os.getloadavg()[0]:.1f} before; {versions}; {datetime.date.today()}"


def show(lines: Iterable[str], output: Path | None) -> None:
    """Prints each line as soon as it is there; in the end all of them are written to a file, if one is named."""
    shown = []
    for line in lines:
        print(line, flush=True)
        shown.append(line)
    if output:
        atomic_write(output, "\n".join(shown) + "\n")
