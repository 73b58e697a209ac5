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
from tests.support.gaussians import MODES, covered, train_gaussians

DIGITS = ("train.evaluate_every=8000", "train.augment=none", "train.log_every=1000", "train.images=32000")
POINTS = ("train.images=80000", "train.log_every=2000")
LEAST = {"ring": 8, "grid": 6}  # of 8 and 25 Gaussians; so soon a healthy run has 7 to 15 of the grid, a collapsed one 1 or 2
HEALTHY = ("train.objective=relativistic", "train.regularizers.r1=0.1", "train.regularizers.r2=0.1")


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


def assert_healthy(seed: int, digits: PackedDataset, folder: Path) -> None:
    """Runs over points and over digits that go well raise no alarm."""
    for kind in MODES:
        generator, history = train_gaussians(kind, folder / kind, f"train.seed={seed}", *HEALTHY, *POINTS)
        assert not history["alarms"] and covered(generator, kind) >= LEAST[kind]
    chosen = digits_settings(
        f"train.seed={seed}", "train.objective=nonsaturating", "train.regularizers.r1=0.1", "model.conditional=false"
    )
    assert not train(chosen, digits, folder)["alarms"]
