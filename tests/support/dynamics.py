"""Discriminators that see few digits."""

from __future__ import annotations

from pathlib import Path

import torch

from atelier.config import settings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.training.checkpoint import read_history
from tests.support.driver import tiny
from tests.support.runs import train
from tests.support.small import PARAMS

CPU = torch.device("cpu")


def few_digits(folder: Path, holdout: float) -> PackedDataset:
    pack(settings.load(PARAMS, [f"data.target.holdout={holdout}"]).data["target"], folder, workers=1, progress=False)
    return PackedDataset(folder)


def trained(data: PackedDataset, folder: Path, *overrides: str) -> list[dict[str, float]]:
    """The curves of a run."""
    chosen = tiny("train.evaluate_from=0.5", "train.evaluate_every=1000000", "train.augment=none", *overrides)
    train(chosen, data, folder)
    return read_history(folder / "model")["points"]


def points(**curves: float) -> list[dict[str, float]]:
    """Twenty points, of which only the last three are the state of the training."""
    return [{"images": n, **{name: value if n >= 18 else 0.0 for name, value in curves.items()}} for n in range(1, 21)]
