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
from atelier.training.checkpoint import PretrainedModel
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
    start: PretrainedModel | None = None,
    settings: TrainSettings | None = None,
    task: type[Generation] = Generation,
    device: torch.device = CPU,
    **more: Any,
) -> GeneratorInfo:
    """Trains by `settings`, else by those of `train` or, from a `start`, of `finetune`; `more` are other arguments of `run`."""
    settings = settings or (chosen.finetune if start else chosen.train)
    assert settings
    infos = run(
        task, chosen.model, settings, {"data": data}, folder / "model", folder / "states",
        measure or pixel_distance(data), {}, device, Ranks(), git={}, start=start, **more,
    )  # fmt: skip
    return infos["generator"]
