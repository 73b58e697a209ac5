"""Distances that tie are decided alike whatever the BLAS, the order of images and the blocks."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import numpy as np
from atelier.metrics.coverage import memorization, prdc
random = np.random.default_rng(0)
thirds = random.integers(0, 3, (900, 6)) / 3
print(prdc(thirds[:300], thirds[300:600]), prdc(thirds, thirds, 40))
print(memorization(thirds[:300], thirds[300:], thirds[200:300] + 1 / 3))
for dim in range(3, 40):
    rows = random.standard_normal((61, dim))
    print(prdc(rows, rows, 3), prdc(rows, random.permutation(rows), 3))
"""


def test_another_processor_counts_alike() -> None:
    """OpenBLAS has kernels for processors with and without AVX, whose products differ in their last bits."""
    told = set()
    for kind in ("Prescott", "Haswell"):
        environment = {**os.environ, "OPENBLAS_CORETYPE": kind, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        told.add(done.stdout)
    assert len(told) == 1
