"""Runs on digits that are watched for alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.tasks.generation.task import Generation
from atelier.training.checkpoint import read_history
from atelier.training.history import Observer
from tests.support import runs
from tests.support.driver import tiny

DIGITS = ("train.evaluate_every=8000", "train.augment=none", "train.log_every=1000", "train.images=32000")
POINTS = ("train.images=80000", "train.log_every=2000")


def digits_settings(*overrides: str) -> Settings:
    return tiny("model.mlp.hidden=[128]", *DIGITS, *overrides)


def train(
    chosen: Settings,
    data: PackedDataset,
    folder: Path,
    observers: list[Observer] | None = None,
    task: type[Generation] = Generation,
) -> dict[str, Any]:
    """The history of a run on one thread."""
    runs.train(chosen, data, folder, task=task, observers=observers or [])
    return read_history(folder / "model")
