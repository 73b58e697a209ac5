"""Runs in which one network is stronger."""

from __future__ import annotations

from pathlib import Path

from atelier.data.packed import PackedDataset
from atelier.training.checkpoint import read_history
from tests.support.driver import tiny
from tests.support.runs import train

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
    train(chosen, data, folder)
    return read_history(folder / "model")["points"]
