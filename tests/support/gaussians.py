"""Points in the plane for images: a ring of 8 and a grid of 25 narrow Gaussians, on which a GAN is seen to fail in seconds.

The test beds of Metz et al. 2017 (unrolled GANs, section 3.1) and of Srivastava et al. 2017 (VEEGAN, section 5.1).
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from atelier.config.model import ModelSettings
from atelier.config.training import TrainSettings
from atelier.data.packed import PackedDataset
from atelier.io.pictures import png
from atelier.models.model import to_uint8
from atelier.networks.layers import Discriminator, Generator, ImageShape, Verdict
from atelier.tasks.base import Batch
from atelier.tasks.generation.mode_coverage import Kinds
from atelier.tasks.generation.probe import Sight
from atelier.tasks.generation.task import Generation
from atelier.training.distributed import Ranks
from atelier.training.preemption import StopSignal
from atelier.training.states import RunFolder
from atelier.training.trainer import Trainer
from tests.support.driver import tiny

CENTRE, SPREAD = 127.5, 2.0  # in steps of 8 bits, as which points are kept like pixels
WIDTH, LATENT = 64, 16
POINT = ImageShape(1, 2, 0)  # a point is an image of one pixel and two channels
MODES: dict[str, list[tuple[float, float]]] = {
    "ring": [(90 * math.cos(n * math.pi / 4), 90 * math.sin(n * math.pi / 4)) for n in range(8)],
    "grid": [(45 * x, 45 * y) for x in range(-2, 3) for y in range(-2, 3)],
}


class Points:
    """A data set of 8,000 points, as far as training knows data sets."""

    resolution, channels, classes, split = 1, 2, list[str](), "all"
    folder = Path("points")

    def __init__(self, kind: str) -> None:
        random = np.random.default_rng(0)
        centres = np.array(MODES[kind])[random.integers(0, len(MODES[kind]), 8000)]
        moved = CENTRE + centres + random.normal(0, SPREAD, centres.shape)
        self.points = moved.round().clip(0, 255).astype(np.uint8)[:, :, None, None]
        self.labels = np.zeros(len(self.points), np.int64)
        self.content_hash, self.manifest = kind, SimpleNamespace(source={"kind": kind})

    def __len__(self) -> int:
        return len(self.points)

    def images(self, index: np.ndarray) -> np.ndarray:
        return self.points[index]


class Painter(Generator):
    def __init__(self) -> None:
        super().__init__(LATENT, POINT)
        self.layers = dense(LATENT, 2)

    def paint(self, code: Tensor, label: Tensor | None, chance: Tensor | None = None) -> Tensor:
        return self.layers(code[:, 0])[:, :, None, None]


class Critic(Discriminator):
    def __init__(self) -> None:
        super().__init__(POINT, "projection")
        self.layers = dense(2, 1)

    def stages(self) -> list[nn.Module]:
        return [self.layers]

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        return Verdict(self.layers(images.flatten(1))[:, 0])


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    hidden = [nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


class Plane(Sight):
    """Its picture is a map of the points."""

    def picture(self, generator: nn.Module) -> bytes:
        across, down = np.moveaxis(to_uint8(generator(self.latents, None)), 1, 0)
        drawn = np.zeros((256, 256), np.uint8)
        drawn[down, across] = 255
        return png(Image.fromarray(drawn))


class Gaussians(Generation):
    """The duel of two dense networks over points."""

    def __init__(self, model: ModelSettings, train: TrainSettings) -> None:
        super().__init__(model, train, ImageShape(28, 1, 0))
        self.shape = POINT
        self.generator, self.discriminator = Painter(), Critic()
        self.players = {"discriminator": self.discriminator, "generator": self.generator}
        self._paint, self._see = self.generator, self.discriminator

    def sight(self, real: Batch, held_out: Batch | None, kinds: Kinds) -> Sight:
        return Plane(self.generator, self.discriminator, self.train.seed, real, held_out, kinds)


def duel(kind: str, folder: Path, *overrides: str) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged generator and the history of a run over points. Raises TrainingStopped."""
    chosen = tiny("model.conditional=false", "train.batch=64", "train.augment=none", "train.evaluate_every=1000000", *overrides)
    torch.manual_seed(chosen.train.seed)
    run, points = RunFolder(folder, "0" * 64), cast(PackedDataset, Points(kind))
    run.grids.mkdir(parents=True)
    task = Gaussians(chosen.model, chosen.train)

    def measure(generator: nn.Module) -> tuple[float, dict[str, Any]]:
        return float(len(MODES[kind]) - covered(generator, kind)), {"identity": {"metric": "missing modes"}, "metrics": {}}

    trainer = Trainer(task, chosen.train, points, run, measure, torch.device("cpu"), Ranks())
    finished = trainer.run(StopSignal())
    return trainer.average, finished.history


def covered(generator: nn.Module, kind: str) -> int:
    """How many of the Gaussians 1,000 points of the generator come near to, within 4 deviations."""
    torch.manual_seed(1)
    with torch.no_grad():
        points = generator(torch.randn(1000, LATENT), None).flatten(1)
    centres = torch.tensor(MODES[kind]) / CENTRE
    near = torch.cdist(points, centres.float()) < 4 * SPREAD / CENTRE
    return int((near.sum(dim=0) > 5).sum())
