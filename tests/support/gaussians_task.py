"""A GAN of two dense networks over points in the plane: a task that owes nothing to any other."""

from __future__ import annotations

import itertools
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from atelier.io.pictures import png
from atelier.losses.adversarial import OBJECTIVES
from atelier.losses.penalties import gradient_penalty
from atelier.models.model import to_uint8
from atelier.networks.base import Network
from atelier.tasks.adversarial import AdversarialTask
from atelier.tasks.base import Batch, Examples, Loss, Product, StepWeights, Update
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage, pairwise_distance

LATENT, WIDTH, SHOWN = 16, 64, 128


class Dense(Network):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.layers = nn.Sequential(nn.Flatten(), hidden, nn.Linear(WIDTH, outputs), nn.Unflatten(1, (outputs, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Gaussians(AdversarialTask):
    updates = (Update("discriminator", ("discriminator",), "discriminator"), Update("points", ("points",), "generator"))
    products = (Product("points", "points", imitates="data"),)
    train: Any

    @classmethod
    def build(cls, model: Any, train: Any, data: Any) -> Self:
        task = cls()
        task.train, task.objective = train, OBJECTIVES[train.objective]
        task.networks = {"discriminator": Dense(2, 1), "points": Dense(LATENT, 2)}
        return task

    def draw(self, update: Update, count: int) -> Tensor:
        return torch.randn(count, LATENT)

    def loss(self, update: Update, batch: Batch, draws: Tensor, weights: StepWeights) -> Loss:
        real, fake = batch["image"].requires_grad_(), self.networks["points"](draws).requires_grad_()
        judged = [self.networks["discriminator"](images).flatten() for images in (real, fake)]
        loss = getattr(self.objective, update.role)(*judged)
        logged = {f"loss_{update.role}": loss.detach()}
        if update.role == "discriminator":
            logged |= {"real_logits": judged[0].detach(), "fake_logits": judged[1].detach()}
            for penalty in self.train.regularizers.chosen() if weights.penalty > 0 else []:  # r1 and r2
                logits, images = (judged[0], real) if penalty.key == "r1" else (judged[1], fake)
                loss = loss + penalty.weight * weights.penalty / 2 * gradient_penalty(logits, images).mean()
        return Loss(loss, logged)

    def probe(self, examples: Examples) -> Plane:
        return Plane([batch["image"] for batch in itertools.islice(examples.training(SHOWN), 1 + LEARNT + COUNTED)])


class Plane:
    curves = ("diversity", "mode_coverage")

    def __init__(self, real: list[Tensor]) -> None:
        self.mode_coverage, self.real_distance = ModeCoverage(real[1:]), pairwise_distance(real[0], None)
        self.latents = torch.randn(SHOWN, LATENT, generator=torch.Generator().manual_seed(0))

    def measure(self, averages: Any) -> dict[str, float]:
        points = averages["points"](self.latents).detach()
        return {
            "diversity": pairwise_distance(points, None) / self.real_distance,
            "mode_coverage": self.mode_coverage.share(points),
        }

    def preview(self, averages: Any) -> bytes:
        drawn = np.zeros((256, 256), np.uint8)
        drawn[tuple(np.moveaxis(to_uint8(averages["points"](self.latents).detach()), 1, 0)[::-1])] = 255
        return png(Image.fromarray(drawn))
