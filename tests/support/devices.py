"""Where tests that have something to say of a GPU are run: on the CPU always, with "cuda" in their names where there is one.

`make gpu-check` runs the latter by that name.
"""

from __future__ import annotations

import pytest
import torch

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
CUDA = pytest.param("cuda", marks=NO_GPU)
DEVICES = [pytest.param("cpu"), CUDA]
