"""The cost of a training run: time on hardware."""

from __future__ import annotations

import math
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

CPU_INFO = Path("/proc/cpuinfo")
ASKING_SECONDS = 10.0  # for nvidia-smi, which waits for a driver that hangs


class Clock:
    """The cost of a run: seconds of wall clock on each kind of hardware, summed over its interruptions.

    The record is a list, in the order of first use, of {"kind": "cpu" or "cuda", "device": its name, "ranks", "threads" of
    PyTorch in each rank, "torch": its version, "watts": the power limit of one GPU or None where it is not known or there is
    none, "seconds"}. Of ranks on unlike devices it names the first one's.
    """

    def __init__(self, device: torch.device, ranks: int) -> None:
        """Starts to count."""
        self.since = time.monotonic()
        self.hardware = {
            "kind": device.type,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
            "ranks": ranks,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "watts": _power_limit(device) if device.type == "cuda" else None,
        }

    def add_to(self, record: list[dict[str, Any]]) -> None:
        """Adds the seconds since the last call to the entry of this hardware, which is made where there is none yet."""
        now = time.monotonic()
        entry = next((one for one in record if {**one, "seconds": 0.0} == {**self.hardware, "seconds": 0.0}), None)
        if entry is None:
            record.append(entry := {**self.hardware, "seconds": 0.0})
        entry["seconds"] += now - self.since
        self.since = now


def cpu_name() -> str:
    """The processor as Linux names it; elsewhere, and on machines where Linux names none, its architecture."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _power_limit(device: torch.device) -> float | None:
    """Power limit of a GPU in watts, or None where nvidia-smi is missing or does not tell it, and for a slice of a GPU."""
    if " MIG " in torch.cuda.get_device_name(device):
        return None
    gpu = f"GPU-{torch.cuda.get_device_properties(device).uuid}"  # type: ignore[attr-defined]
    question = ["nvidia-smi", f"--id={gpu}", "--query-gpu=power.limit", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, check=True, timeout=ASKING_SECONDS).stdout
        watts = float(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return watts if math.isfinite(watts) and watts > 0 else None
