"""A GAN's training as public code bases write it: a DataLoader with PIL transforms, one forward pass after the other, no layouts.

It follows the common skeleton of PyTorch's DCGAN tutorial, mimicry's and R3GAN's trainers: every update takes new images from the
loader, both networks' losses are read with .item(), the moving average is a loop over parameters. Networks, batch, objective,
R1 and R2 are those of the settings that it is given; rates and weights do not change while it trains.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import relu, softplus
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.networks import zoo
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape

WORKERS = 2  # of the loader, as PyTorch's tutorial has it


class Pictures(Dataset[tuple[Tensor, int]]):
    """The images of a packed set, one at a time through Pillow."""

    def __init__(self, data: PackedDataset) -> None:
        self.pixels = data.images(np.arange(len(data))).transpose(0, 2, 3, 1).squeeze()
        self.labels = data.labels
        half = (0.5,) * data.channels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


class PlainLoop:
    """After `train`, `average` is the generator, `images` what was shown in `seconds`, `begun` the moment of the first step."""

    def __init__(self, settings: Settings, data: PackedDataset, device: torch.device) -> None:
        chosen, self.device = settings.train, device
        weights = {one.key: one.weight for one in chosen.regularizers.chosen()}
        if settings.model.architecture == "progan" or weights.keys() - {"r1", "r2"}:
            raise ValueError("this loop knows no growth, and no other regularizers than R1 and R2")
        self.r1, self.r2 = weights.get("r1", 0.0), weights.get("r2", 0.0)
        torch.manual_seed(chosen.seed)
        shape = ImageShape(data.resolution, data.channels, len(data.classes))
        self.generator, self.discriminator = zoo.build(settings.model, shape)
        for network in (self.generator, self.discriminator):
            network.to(device)
        self.average: LatentGenerator = copy.deepcopy(self.generator).eval()
        betas = (chosen.beta1, chosen.beta2)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=chosen.lr_generator, betas=betas)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=chosen.lr_discriminator, betas=betas)
        self.loader = DataLoader(Pictures(data), chosen.batch, shuffle=True, drop_last=True, num_workers=WORKERS)
        self.chosen, self.keep = chosen, 0.5 ** (chosen.batch / chosen.ema_half_life)
        self.images, self.seconds, self.begun = 0, 0.0, 0.0

    def train(self, seconds: float) -> None:
        """Until the seconds have gone."""
        batches, began = self._batches(), time.monotonic()
        while self.seconds < seconds:
            first, second = next(batches), next(batches)
            self.begun = self.begun or time.time()
            self.step(first, second)
            self.seconds = time.monotonic() - began

    def step(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> None:
        """The updates of both networks, each with images and labels of its own."""
        losses = self._step_d(*first), self._step_g(*second)
        if not all(math.isfinite(loss) for loss in losses):
            raise RuntimeError(f"diverged after {self.images} images: {losses}")
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.copy_(now.lerp(mean, self.keep))
            for kept, latest in zip(self.average.buffers(), self.generator.buffers(), strict=True):
                kept.copy_(latest)
        self.images += self.chosen.batch

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            for images, labels in self.loader:
                yield images.to(self.device), labels.to(self.device)

    def _generator_pass(self, label: Tensor) -> Tensor:
        count, noise_dim = self.chosen.batch, self.generator.noise_dim
        noise = torch.randn(count, noise_dim, device=self.device) if noise_dim else None
        self.generator.power_iteration()
        return self.generator(torch.randn(count, self.generator.latent_dim, device=self.device), label, noise)

    def _discriminate(self, images: Tensor, label: Tensor) -> Tensor:
        self.discriminator.power_iteration()
        return self.discriminator(images, label).logits

    def _step_d(self, real: Tensor, label: Tensor) -> float:
        self.generator.requires_grad_(False)
        self.discriminator.requires_grad_(True)
        penalized = self.r1 > 0 or self.r2 > 0
        real.requires_grad_(penalized)
        fake = self._generator_pass(label).detach().requires_grad_(penalized)
        real_logits, fake_logits = self._discriminate(real, label), self._discriminate(fake, label)
        loss = _loss_d(self.chosen.objective, real_logits, fake_logits)
        for weight, logits, images in ((self.r1, real_logits, real), (self.r2, fake_logits, fake)):
            if weight:
                (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
                loss = loss + weight / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
        return self._descend(self.adam_d, loss)

    def _step_g(self, real: Tensor, label: Tensor) -> float:
        self.generator.requires_grad_(True)
        self.discriminator.requires_grad_(False)
        fake_logits = self._discriminate(self._generator_pass(label), label)
        real_logits = self._discriminate(real, label) if self.chosen.objective == "relativistic" else None
        loss = -fake_logits.mean() if real_logits is None else softplus(real_logits - fake_logits).mean()
        if self.chosen.objective == "nonsaturating":
            loss = softplus(-fake_logits).mean()
        return self._descend(self.adam_g, loss)

    @staticmethod
    def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()


def _loss_d(objective: str, real: Tensor, fake: Tensor) -> Tensor:
    if objective == "relativistic":
        return softplus(fake - real).mean()
    if objective == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    return softplus(-real).mean() + softplus(fake).mean()
