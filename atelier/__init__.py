"""The library. Importing it, or a package beside it, says how threads wait, which PyTorch reads when it is loaded."""

import importlib
import os
from typing import Any

from atelier.machine import cores

SPINS = "10000"  # of OpenMP's threads before they sleep; docs/performance.md has what that costs

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = SPINS
if cores.cores() < cores.bound():  # OpenMP heeds what a process is bound to, not the quota of a container
    os.environ.setdefault("OMP_NUM_THREADS", str(cores.cores()))

__all__ = ["Project"]


def __getattr__(name: str) -> Any:
    """`Project` is loaded when it is asked for and by its name, so that whoever imports the package does not depend on it."""
    if name != "Project":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.project").Project
