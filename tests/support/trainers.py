"""A trainer in this process, for tests that take its steps one by one."""

from __future__ import annotations

from pathlib import Path

import torch

from atelier.data.packed import PackedDataset
from atelier.networks.layers import ImageShape
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from tests.support.driver import FAMILIES, pixel_distance, tiny


def trainer(family: str, seed: int, data: PackedDataset, folder: Path, device: str) -> Trainer:
    """A trainer of that family in a folder, at its first step."""
    torch.manual_seed(seed)
    chosen = tiny(*FAMILIES[family])
    shape = ImageShape(data.resolution, data.channels, len(data.classes))
    task = Generation(chosen.model, chosen.train, shape)
    states = RunFolder(folder, "k" * 16)
    return Trainer(task, chosen.train, {"data": data}, states, pixel_distance(data), torch.device(device), Ranks())
