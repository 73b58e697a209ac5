"""The weights of what a run has written."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def weights(folder: Path, name: str = "generator.safetensors") -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / name)
