"""Points in the plane for images: a ring of 8 and a grid of 25 narrow Gaussians, on which a GAN is seen to fail in seconds.

The test beds of Metz et al. 2017 (unrolled GANs, section 3.1) and of Srivastava et al. 2017 (VEEGAN, section 5.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from atelier.data.packed import PackedDataset
from atelier.training.distributed import Ranks
from atelier.training.preemption import StopSignal
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from tests.support.driver import tiny
from tests.support.gaussians_task import LATENT, Gaussians

CENTER, SPREAD = 127.5, 2.0  # in steps of 8 bits, as which points are kept like pixels
MODES: dict[str, list[tuple[float, float]]] = {
    "ring": [(90 * math.cos(n * math.pi / 4), 90 * math.sin(n * math.pi / 4)) for n in range(8)],
    "grid": [(45 * x, 45 * y) for x in range(-2, 3) for y in range(-2, 3)],
}


class Points:
    """A data set of 8,000 points, as far as training knows data sets: images of one pixel and two channels."""

    resolution, channels, classes, split, whole = 1, 2, list[str](), "all", False
    folder, fields = Path("points"), {"image": SimpleNamespace(kind="image", channels=2, table=None)}

    def __init__(self, kind: str) -> None:
        random = np.random.default_rng(0)
        centers = np.array(MODES[kind])[random.integers(0, len(MODES[kind]), 8000)]
        moved = CENTER + centers + random.normal(0, SPREAD, centers.shape)
        self.points = moved.round().clip(0, 255).astype(np.uint8)[:, :, None, None]
        self.labels = np.zeros(len(self.points), np.int64)
        self.content_hash, self.manifest = kind, SimpleNamespace(source={"kind": kind})

    def __len__(self) -> int:
        return len(self.points)

    def images(self, index: np.ndarray) -> np.ndarray:
        return self.points[index]

    def read_pictures(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self.images(index)}

    def annotations(self, index: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
        return {}


def train_gaussians(kind: str, folder: Path, *overrides: str) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged generator and the history of a run over points. Raises TrainingStopped."""
    chosen = tiny("model.conditional=false", "train.batch=64", "train.augment=none", "train.evaluate_every=1000000", *overrides)
    torch.manual_seed(chosen.train.seed)
    run, points = RunFolder(folder, "0" * 64), {"data": cast(PackedDataset, Points(kind))}
    run.grids.mkdir(parents=True)
    task = Gaussians.build(chosen.model, chosen.train, points)

    def measure(averages: Mapping[str, nn.Module]) -> tuple[float, dict[str, Any]]:
        missing = len(MODES[kind]) - covered(averages["points"], kind)
        return float(missing), {"identity": {"metric": "missing modes"}, "metrics": {}}

    trainer = Trainer(task, chosen.train, points, run, measure, torch.device("cpu"), Ranks())
    finished = trainer.run(StopSignal())
    return trainer.averages["points"], finished.history


def covered(generator: nn.Module, kind: str) -> int:
    """How many of the Gaussians 1,000 points of the generator come near to, within 4 deviations."""
    torch.manual_seed(1)
    with torch.no_grad():
        points: Tensor = generator(torch.randn(1000, LATENT)).flatten(1)
    centers = torch.tensor(MODES[kind]) / CENTER
    near = torch.cdist(points, centers.float()) < 4 * SPREAD / CENTER
    return int((near.sum(dim=0) > 5).sum())
