"""How many cores and how much memory a process are, read from cgroups that the tests write."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import atelier
from tests.support.small import ROOT


@pytest.mark.parametrize("package", ["atelier", "benchmarks", "components", "pipelines"])
@pytest.mark.parametrize(
    ("given", "spins"), [({}, atelier.SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_openmp_is_told_how_to_wait_before_it_is_loaded(package: str, given: dict[str, str], spins: str | None) -> None:
    code = f"import os, sys, {package}; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    said = subprocess.run([sys.executable, "-c", code], env=own | given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(spins), "False"]
