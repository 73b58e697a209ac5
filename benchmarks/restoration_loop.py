"""Super-resolution as public code writes it: pairs of PNG files through a DataLoader, a pass for each use, no layouts.

It follows the common skeleton of the trainers of SRGAN and Real-ESRGAN: the degraded pictures are files beside the clean ones, a
crop is cut out of a picture that was read whole, the discriminator sees clean and restored pictures in a pass and a backward pass
each, the moving average goes parameter by parameter, losses are read with .item(). Networks, batch, rates and weights are those
of the task that it is given.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from atelier.tasks.restoration.task import DISCRIMINATOR, GENERATOR, Restoration

WORKERS = 2
ENLARGED = 100  # times that an epoch sees each file, so that workers seldom start anew
CLEAN, GIVEN = "clean", "given"  # folders of the pairs


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Squares of `crop` pixels out of clean files, and what degraded ones hold of them, both in [-1, 1]."""

    def __init__(self, folder: Path, crop: int, scale: int) -> None:
        self.clean, self.given = (sorted((folder / name).glob("*.png")) for name in (CLEAN, GIVEN))
        self.crop, self.scale = crop, scale

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean, given = (_read(files[index]) for files in (self.clean, self.given))
        side = self.crop // self.scale
        top, left = (random.randint(0, length - side) for length in given.shape[:2])
        given = given[top : top + side, left : left + side]
        top, left = top * self.scale, left * self.scale
        clean = clean[top : top + self.crop, left : left + self.crop]
        across, down, turned = (random.random() < 0.5 for _ in range(3))
        return _moved(given, across, down, turned), _moved(clean, across, down, turned)


class RestorationLoop:
    """One stage of a restorer: after `train`, `average` restores, and `images` were seen."""

    def __init__(self, task: Restoration, folder: Path) -> None:
        self.chosen, self.weights = task.train, task.settings
        self.generator, self.perception = task.networks[GENERATOR], task.perception
        self.average = copy.deepcopy(self.generator).eval()
        self.decay = 0.5 ** (self.chosen.batch / self.chosen.ema_half_life)
        betas = self.chosen.beta1, self.chosen.beta2
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=self.chosen.lr_generator, betas=betas)
        if self.weights.adversarial:
            self.discriminator = task.networks[DISCRIMINATOR]
            self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=self.chosen.lr_discriminator, betas=betas)
        pairs = Pairs(folder, self.weights.crop, self.weights.scale)
        sampler = RandomSampler(pairs, num_samples=ENLARGED * len(pairs))
        self.loader = DataLoader(pairs, self.chosen.batch, sampler=sampler, drop_last=True, num_workers=WORKERS)
        self.images, self.logged = 0, dict[str, float]()

    def train(self, until: float) -> None:
        """Until time.monotonic() says so."""
        step, batches = self._adversarial if self.weights.adversarial else self._pixels, self._batches()
        while time.monotonic() < until:
            step(*next(batches))
            for mean, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.data.mul_(self.decay).add_(value.data, alpha=1 - self.decay)
            self.images += self.chosen.batch

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def _pixels(self, given: Tensor, clean: Tensor) -> None:
        self.adam_g.zero_grad()
        loss = self.weights.pixel * F.l1_loss(self.generator(image=given), clean)
        loss.backward()
        self.adam_g.step()
        self._log(pixel=loss)

    def _adversarial(self, given: Tensor, clean: Tensor) -> None:
        self.discriminator.requires_grad_(False)
        self.adam_g.zero_grad()
        restored = self.generator(image=given)
        pixel = self.weights.pixel * F.l1_loss(restored, clean)
        perceptual = self.weights.perceptual * self._seen_differ(restored, clean)
        fooled = self.weights.adversarial * _judged(self.discriminator, restored, 1.0)
        (pixel + perceptual + fooled).backward()
        self.adam_g.step()
        self.discriminator.requires_grad_(True)
        self.adam_d.zero_grad()
        real = _judged(self.discriminator, clean, 1.0)
        real.backward()
        fake = _judged(self.discriminator, restored.detach(), 0.0)
        fake.backward()
        self.adam_d.step()
        self._log(pixel=pixel, perceptual=perceptual, fooled=fooled, real=real, fake=fake)

    def _seen_differ(self, restored: Tensor, clean: Tensor) -> Tensor:
        assert self.perception is not None
        found, wanted = self.perception(restored), self.perception(clean.detach())
        return torch.stack([F.l1_loss(a, b) for a, b in zip(found, wanted, strict=True)]).mean()

    def _log(self, **losses: Tensor) -> None:
        self.logged = {name: loss.item() for name, loss in losses.items()}


def _judged(discriminator: nn.Module, images: Tensor, label: float) -> Tensor:
    """The cross-entropy of what the discriminator says of images."""
    discriminator.power_iteration()  # type: ignore[operator] # at each pass, as torch's spectral norm does by itself
    logits: Tensor = discriminator(images).logits[0]
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _read(file: Path) -> np.ndarray:
    """float32 [H, W, 3] in [0, 1]."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / 255


def _moved(square: np.ndarray, across: bool, down: bool, turned: bool) -> Tensor:
    """A square mirrored and turned, float [3, H, W] in [-1, 1]."""
    square = square[:, ::-1] if across else square
    square = square[::-1] if down else square
    square = square.transpose(1, 0, 2) if turned else square
    return torch.from_numpy(square.transpose(2, 0, 1).copy()) * 2 - 1
