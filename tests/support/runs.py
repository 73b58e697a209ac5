"""Runs of generation in this process: the model in folder/model, its saves in folder/states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from atelier.config.settings import Settings
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.models.model import GeneratorInfo
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks
from atelier.training.run import run
from atelier.training.trainer import Measure
from tests.support.driver import pixel_distance

CPU = torch.device("cpu")


def train(
    chosen: Settings,
    data: PackedDataset,
    folder: Path,
    measure: Measure | None = None,
    settings: TrainSettings | None = None,
    task: type[Generation] = Generation,
    device: torch.device = CPU,
    **more: Any,
) -> GeneratorInfo:
    """Trains by `settings` (those of `train` where none are given); `more` are other arguments of atelier.training.run.run."""
    infos = run(
        task, chosen.model, settings or chosen.train, {"data": data}, folder / "model", folder / "states",
        measure or pixel_distance(data), {}, device, Ranks(), git={}, **more,
    )  # fmt: skip
    return infos["generator"]
