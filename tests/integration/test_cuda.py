"""What is said where PyTorch cannot use a GPU; the drivers are libraries that the tests compile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.small import ROOT

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "unknown"; return 0; }
static int other(void) { return INIT; }
int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long flags, int *status) {
    *found = other;
    if (!strcmp(name, "cuInit")) *found = cuInit;
    if (!strcmp(name, "cuDriverGetVersion")) *found = cuDriverGetVersion;
    if (!strcmp(name, "cuGetErrorString")) *found = cuGetErrorString;
    if (!strcmp(name, "cuGetProcAddress")) *found = cuGetProcAddress_v2;
    if (status) *status = 0;
    return 0;
}
"""
CHOOSE = """
import torch
from atelier.command_line import configure_logging
from atelier.training.distributed import choose_device
configure_logging()
print(choose_device("auto"), torch.cuda.is_available())
"""


@pytest.mark.skipif(
    not shutil.which("cc") or not torch.version.cuda or sys.platform != "linux", reason="needs cc and CUDA's build"
)
@pytest.mark.parametrize(
    ("code", "version", "said"),
    [
        (35, 12040, "the NVIDIA driver is too old: PyTorch .* needs one for CUDA .*newer driver"),
        (999, 13020, "does not start: .*nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_start_is_one_line(code: int, version: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(DRIVER)
    make = ["cc", "-shared", "-fPIC", f"-DINIT={code}", f"-DVERSION={version}", "-o", "libcuda.so.1", "driver.c"]
    subprocess.run(make, cwd=tmp_path, check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CHOOSE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "cpu False\n"
    (line,) = done.stderr.splitlines()
    assert re.search(f"no GPU is used, the work is done on the CPU: .*{said}", line)
