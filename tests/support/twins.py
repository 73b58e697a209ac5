"""A toy task with two products: two generators learn in one update against one discriminator, each from noise of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from atelier.io.pictures import grid, png
from atelier.losses.adversarial import OBJECTIVES
from atelier.models.model import to_uint8
from atelier.networks import zoo
from atelier.networks.layers import ImageShape
from atelier.tasks.adversarial import AdversarialTask
from atelier.tasks.base import Batch, Examples, Logged, Loss, Product, StepWeights, Update

TWINS = ("left", "right")


class Twins(AdversarialTask):
    updates = (Update("discriminator", ("discriminator",), "discriminator"), Update("twins", TWINS, "generator"))
    products = tuple(Product(name, name, imitates="data") for name in TWINS)
    latent_dim: int

    @classmethod
    def build(cls, model: Any, train: Any, data: Any) -> Self:
        task = cls()
        (images,) = data.values()
        shape = ImageShape(images.resolution, images.channels, len(images.classes))
        task.objective, task.latent_dim = OBJECTIVES[train.objective], model.latent_dim
        built = [zoo.build(model, shape) for _ in TWINS]
        task.networks = dict(zip(TWINS, (generator for generator, _ in built), strict=True))
        task.networks["discriminator"] = built[0][1]
        return task

    def draw(self, update: Update, count: int) -> Tensor:
        return torch.randn(count, 2, self.latent_dim)

    def loss(self, update: Update, batch: Batch, draws: Tensor, weights: StepWeights) -> Loss:
        label, judge = batch["label"], self.networks["discriminator"]
        real = judge(batch["image"], label).logits
        made = [self.networks[name](draws[:, n], label) for n, name in enumerate(TWINS)]
        if update.role == "discriminator" and "left" in self.pools:  # which judges what was made a step ago
            made[0] = self.pools["left"]
        fakes = [judge(images, label).logits for images in made]
        loss = torch.stack([getattr(self.objective, update.role)(real, fake) for fake in fakes]).mean()
        logged = {f"loss_{update.role}": loss.detach()}
        if update.role == "discriminator":
            logged |= {"real_logits": real.detach(), "fake_logits": fakes[0].detach()}
        else:
            logged["made"] = made[0].detach()
        return Loss(loss, logged)

    def after(self, update: Update, logged: Logged) -> None:
        self.memory["updates"] = self.memory.get("updates", 0.0) + 1
        if "made" in logged:
            self.pools["left"] = logged["made"]

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        return super().signals(update, {name: values for name, values in logged.items() if name != "made"})

    def probe(self, examples: Examples) -> Pairs:
        return Pairs(next(examples.training(16)), torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))


class Pairs:
    """How far the twins' images of the same latents are from each other."""

    curves = ("apart",)

    def __init__(self, real: Batch, latents: Tensor) -> None:
        self.labels, self.latents = real["label"], latents

    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        left, right = self._images(averages)
        return {"apart": (left - right).abs().mean().item()}

    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        return png(grid(np.concatenate([to_uint8(images) for images in self._images(averages)]), 8))

    def _images(self, averages: Mapping[str, nn.Module]) -> list[Tensor]:
        with torch.no_grad():
            return [averages[name](self.latents, self.labels) for name in TWINS]
