"""Image translation as public code bases write it: a DataLoader with PIL transforms, a pass for each use, no layouts.

It follows the common skeleton of the trainers of CycleGAN, pix2pix and CUT: instance norm by nn.InstanceNorm2d, the identity loss
and PatchNCE's keys each by a pass of their own, a pool of single images, losses read with .item(). Networks, batch, objective
(least squares with labels 0 and 1), rates and weights are those of the settings that it is given.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from atelier.config.model import ModelSettings
from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.networks import zoo
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.networks.patch_mlps import PatchMLPs
from atelier.networks.translation_layers import InstanceNorm

WORKERS = 2
POOL = 50


class Pictures(Dataset[Tensor]):
    """One field of a packed set, one picture at a time through Pillow."""

    def __init__(self, data: PackedDataset, field: str) -> None:
        self.pixels = data.read(np.arange(len(data)))[field].transpose(0, 2, 3, 1).squeeze()
        half = (0.5,) * data.fields[field].channels
        self.shape = ImageShape(data.resolution, data.fields[field].channels, 0)
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        found: Tensor = self.transform(Image.fromarray(self.pixels[index]))
        return found


class Both(Dataset[tuple[Tensor, Tensor]]):
    """Pairs, or a picture of each of two sets, of the second one by chance."""

    def __init__(self, first: Pictures, second: Pictures, paired: bool) -> None:
        self.first, self.second, self.paired = first, second, paired

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        other = index if self.paired else random.randrange(len(self.second))
        return self.first[index], self.second[other]


class Pool:
    """Images of before."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """New ones, or earlier ones instead."""
        shown = []
        for image in images.detach():
            if len(self.images) < POOL:
                self.images.append(image)
                shown.append(image)
            elif random.random() > 0.5:
                place = random.randrange(POOL)
                shown.append(self.images[place].clone())
                self.images[place] = image
            else:
                shown.append(image)
        return torch.stack(shown)


class TranslationLoop:
    """After `train`, `generator` translates from the first set to the second, and `images` were shown in `seconds`."""

    def __init__(self, settings: Settings, first: Pictures, second: Pictures, paired: bool) -> None:
        self.chosen, self.model = settings.train, settings.model
        torch.manual_seed(self.chosen.seed)
        random.seed(self.chosen.seed)
        shapes = first.shape, second.shape
        self.paired, self.weights = paired, self.chosen.of_task(settings.model.task)
        self.generator = as_published(generator(self.model, *shapes))
        self.discriminator = as_published(discriminator(self.model, shapes[1], shapes[0].channels if paired else 0))
        learning: list[nn.Module] = [self.generator]
        judging: list[nn.Module] = [self.discriminator]
        if not paired and self.weights.cycle:
            self.back = as_published(generator(self.model, *reversed(shapes)))
            self.other = as_published(discriminator(self.model, shapes[0], 0))
            learning.append(self.back)
            judging.append(self.other)
            self.pools = Pool(), Pool()
        elif not paired:
            layers = {name: self.generator.feature_shapes[name] for name in self.weights.contrast_layers}
            self.patches = PatchMLPs(layers)
            learning.append(self.patches)
        betas = self.chosen.beta1, self.chosen.beta2
        parameters = [itertools.chain(*(one.parameters() for one in group)) for group in (learning, judging)]
        self.adam_g = torch.optim.Adam(parameters[0], lr=self.chosen.lr_generator, betas=betas)
        self.adam_d = torch.optim.Adam(parameters[1], lr=self.chosen.lr_discriminator, betas=betas)
        both = Both(first, second, paired)
        self.loader = DataLoader(both, self.chosen.batch, shuffle=True, drop_last=True, num_workers=WORKERS)
        self.images, self.seconds, self.judging = 0, 0.0, judging

    def train(self, seconds: float) -> None:
        """Until the seconds have gone."""
        batches, began = self._batches(), time.monotonic()
        step = self._paired if self.paired else self._cycle if self.weights.cycle else self._contrast
        while self.seconds < seconds:
            step(*next(batches))
            self.images += self.chosen.batch
            self.seconds = time.monotonic() - began

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def _judged(self, network: nn.Module, images: Tensor, condition: Tensor | None = None) -> Tensor:
        logits: Tensor = network(images, condition).logits[0]
        return logits

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def _frozen(self, frozen: bool) -> None:
        for network in self.judging:
            network.requires_grad_(not frozen)

    def _d_loss(self, network: nn.Module, real: Tensor, fake: Tensor, condition: Tensor | None = None) -> Tensor:
        real_logits, fake_logits = self._judged(network, real, condition), self._judged(network, fake.detach(), condition)
        real_loss = F.mse_loss(real_logits, torch.ones_like(real_logits))
        return (real_loss + F.mse_loss(fake_logits, torch.zeros_like(fake_logits))) * 0.5

    def _g_loss(self, network: nn.Module, fake: Tensor, condition: Tensor | None = None) -> Tensor:
        logits = self._judged(network, fake, condition)
        return F.mse_loss(logits, torch.ones_like(logits))

    def _paired(self, given: Tensor, target: Tensor) -> None:
        noise = torch.randn(len(given), self.generator.noise_dim) if self.generator.noise_dim else None
        fake = self.generator(noise, image=given)
        self._frozen(False)
        self._descend(self.adam_d, self._d_loss(self.discriminator, target, fake, given))
        self._frozen(True)
        loss = self._g_loss(self.discriminator, fake, given) + self.weights.l1 * F.l1_loss(fake, target)
        self._descend(self.adam_g, loss)

    def _cycle(self, a: Tensor, b: Tensor) -> None:
        fake_b, fake_a = self.generator(image=a), self.back(image=b)
        back_a, back_b = self.back(image=fake_b), self.generator(image=fake_a)
        self._frozen(True)
        loss = self._g_loss(self.discriminator, fake_b) + self._g_loss(self.other, fake_a)
        loss = loss + self.weights.cycle * (F.l1_loss(back_a, a) + F.l1_loss(back_b, b))
        if self.weights.identity:
            own_b, own_a = self.generator(image=b), self.back(image=a)
            loss = loss + self.weights.identity * (F.l1_loss(own_b, b) + F.l1_loss(own_a, a))
        self._descend(self.adam_g, loss)
        self._frozen(False)
        shown = self.pools[0].query(fake_b), self.pools[1].query(fake_a)
        self._descend(self.adam_d, self._d_loss(self.discriminator, b, shown[0]) + self._d_loss(self.other, a, shown[1]))

    def _contrast(self, a: Tensor, b: Tensor) -> None:
        mirrored = random.random() < self.weights.flip
        fake_b = self.generator(image=a.flip(3) if mirrored else a)
        self._frozen(False)
        self._descend(self.adam_d, self._d_loss(self.discriminator, b, fake_b))
        self._frozen(True)
        query, key = self.generator.encode(image=fake_b), self.generator.encode(image=a)
        if mirrored:
            query = {name: values.flip(3) for name, values in query.items()}
        places = self.patches.draw(self.weights.places)
        queries, keys = self.patches(query, places), self.patches(key, places)
        losses = [_nce(queries[name], keys[name].detach()) for name in queries]
        loss = self._g_loss(self.discriminator, fake_b) + self.weights.contrast * sum(losses) / len(losses)
        self._descend(self.adam_g, loss)


def _nce(query: Tensor, key: Tensor) -> Tensor:
    """PatchNCE with the positive in front and -10 on the diagonal of the negatives."""
    count = query.shape[1]
    positive = (query * key).sum(dim=2, keepdim=True)
    negative = torch.bmm(query, key.transpose(1, 2))
    negative.masked_fill_(torch.eye(count, dtype=torch.bool)[None], -10.0)
    logits = torch.cat([positive, negative], dim=2).flatten(0, 1) / 0.07
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def generator(model: ModelSettings, given: ImageShape, made: ImageShape) -> Any:
    """Translates from pictures of one shape to those of the other."""
    takes = {"image": Picture(channels=given.channels, resolution=given.resolution)}  # type: ignore[arg-type]
    return zoo.translator(model, made, takes)  # type: ignore[arg-type]


def discriminator(model: ModelSettings, shape: ImageShape, condition: int) -> nn.Module:
    """Of pictures of this shape, beside so many channels of what they were made from."""
    return zoo.patch_discriminator(model, shape, condition)


def as_published(network: Any) -> Any:
    """The network with nn.InstanceNorm2d for its norms, which compute the same."""
    for name, part in list(network.named_children()):
        if isinstance(part, InstanceNorm):
            setattr(network, name, nn.InstanceNorm2d(part.num_channels, eps=part.eps))
        else:
            as_published(part)
    return network
