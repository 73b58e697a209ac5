"""Runs in which one player is stronger."""

from __future__ import annotations

from pathlib import Path

import torch

from atelier.data.packed import PackedDataset
from atelier.tasks.generation.task import Generation
from atelier.training.checkpoint import read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.driver import pixel_distance, tiny

UNEQUAL = (
    "train.regularizers.r1=0.2",
    "train.regularizers.r2=0.2",
    "train.augment=none",
    "train.lr_discriminator=0.004",
    "train.lr_generator=0.002",
)
LENGTH = ("train.images=25600", "train.log_every=2560")


def trained(data: PackedDataset, folder: Path, *overrides: str) -> list[dict[str, float]]:
    """The curves of a run."""
    chosen = tiny(*UNEQUAL, *LENGTH, *overrides)
    model, states = folder / "model", folder / "states"
    run(
        Generation,
        chosen.model,
        chosen.train,
        {"data": data},
        model,
        states,
        pixel_distance(data),
        {},
        torch.device("cpu"),
        Ranks(),
        {},
    )
    return read_history(model)["points"]
