"""torch.compile with a cache of its own for each kind of processor.

Inductor keeps what it has generated in one folder and finds it again by the graph, not by the processor. Code that was generated
for vectors of 8 numbers and is compiled for 16 writes beyond its arrays: a folder that several machines share, or that was filled
under another ATEN_CPU_CAPABILITY, makes a run end or, worse, compute something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atelier.config.settings import fingerprint

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
SIZES = ("l1d_cache_size", "l2_cache_size", "num_logical_cores", "num_physical_cores", "num_sockets")  # no instructions


def compiled(network: nn.Module | Callable[..., Any]) -> Callable[..., Any]:
    """A network, or a method of one, compiled by inductor.

    Its cache is from now on a folder for this processor in the one that was set.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # takes a second, which other runs need not wait

    folder, processor = Path(cache_dir()), _processor()
    if folder.name != processor:
        os.environ[VARIABLE] = str(folder / processor)
    return torch.compile(network)


def _processor() -> str:
    """The vectors that PyTorch computes with, and a digest of the processor's name and instructions."""
    kind = {name: value for name, value in torch.cpu.get_capabilities().items() if name not in SIZES}
    return f"{torch.backends.cpu.get_cpu_capability().lower()}-{fingerprint(kind)[:12]}"
