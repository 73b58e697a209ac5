"""What a check has found: rows, written after each as JSON, in the end as a page of tables."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from atelier.io.files import atomic_write, canonical_json
from atelier.tracking.provenance import git_state
from atelier.training.clock import cpu_name
from benchmarks.measured import table

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
FORMAT = 1
ASKING_SECONDS = 10.0  # for nvidia-smi, which waits for a driver that hangs
PACKAGES = ("torch", "torchvision", "triton", "onnxruntime", "torch-fidelity", "numpy")


@dataclass(frozen=True)
class Row:
    """One thing that was tried: `status` is ok, failed or skipped, the latter two with a reason; figures by name and unit."""

    section: str
    name: str
    status: str
    reason: str = ""
    figures: dict[str, float | int] = field(default_factory=dict)


class Record:
    """The rows so far, in `folder`/gpu.json at any time and in gpu.md after `page`; the files of another check are replaced."""

    def __init__(self, folder: Path, facts: dict[str, Any], notes: dict[str, tuple[str, str]]) -> None:
        """`facts` say what the numbers were measured on; `notes` are title and paragraph of each section, in order."""
        self.folder, self.facts, self.notes = folder, facts, notes
        self.rows: list[Row] = []
        self._write()

    def add(self, row: Row) -> None:
        """Keeps a row and tells it on stderr. Raises WriteError."""
        self.rows.append(row)
        figures = ", ".join(f"{name} {shown(value)}" for name, value in row.figures.items())
        told = " | ".join(part for part in (f"{row.section}, {row.name}: {row.status}", figures, row.reason) if part)
        print(told, file=sys.stderr)
        self._write()

    def count(self, status: str) -> int:
        """How many rows have that status."""
        return sum(row.status == status for row in self.rows)

    @property
    def summary(self) -> str:
        """How many rows have which status, in words."""
        return ", ".join(f"{self.count(status)} {status}" for status in (OK, FAILED, SKIPPED))

    def page(self, title: str) -> None:
        """Writes the page."""
        lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in self.facts.items()), f"- rows: {self.summary}"]
        for section, (heading, note) in self.notes.items():
            rows = [row for row in self.rows if row.section == section]
            lines += ["", f"## {heading}", "", note]
            lines += ["", *_table(rows)] if rows else ["", "Nothing was tried."]
        atomic_write(self.folder / "gpu.md", "\n".join(lines) + "\n")

    def _write(self) -> None:
        rows = [asdict(row) for row in self.rows]
        atomic_write(self.folder / "gpu.json", canonical_json({"format": FORMAT, "facts": self.facts, "rows": rows}))


def _table(rows: Sequence[Row]) -> list[str]:
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    cells = [
        [row.name, *(shown(row.figures[name]) if name in row.figures else "" for name in figures), row.status, row.reason]
        for row in rows
    ]
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in cells]
    return table(["", *figures, "status", "reason"], escaped)


def shown(value: float | int) -> str:
    """A figure with three digits at least; whole numbers as they are."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def facts(device: torch.device, command: str) -> dict[str, Any]:
    """What is measured on and with."""
    state = git_state()
    found: dict[str, Any] = {
        "date": str(datetime.date.today()),
        "command": command,
        "git commit": state.get("commit", "unknown") + (" and changes" if state.get("dirty") == "true" else ""),
        "processor": f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} before",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }
    if device.type != "cuda":
        return {"rehearsal": "on the CPU, with tiny sizes: the figures say nothing"} | found
    about = torch.cuda.get_device_properties(device)
    return {
        "GPU": f"{about.name}, {about.total_memory / 2**30:.1f} GiB, compute capability {about.major}.{about.minor}",
        "driver": _driver(),
        "CUDA, cuDNN": f"{torch.version.cuda}, {torch.backends.cudnn.version()}",
    } | found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    question = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True, timeout=ASKING_SECONDS).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown (nvidia-smi: {error})"
    return answer.splitlines()[0]
