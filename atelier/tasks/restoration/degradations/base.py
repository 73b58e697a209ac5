"""What a degradation is, and how its random numbers are drawn.

All are drawn for each image by itself, kinds and sizes too, so that one batch holds whatever may happen. Real-ESRGAN draws these
once a batch, and mends that by a pool of 180 pairs, which mixes batches and would be part of a run's state. None is needed here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atelier.tasks.patch_adversarial import NamedDraws

Drawn = dict[str, Any]
"""The numbers of one image by name, those of a part by name in turn."""


class Degradation(ABC):
    """Does to clean images what happened to those that are to be restored."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        """The random numbers of `count` images by name, on the CPU."""

    @abstractmethod
    def one(self, image: Tensor, drawn: Drawn) -> Tensor:
        """An image float [1, C, H, W] in [0, 1], degraded: a pure function."""

    def apply(self, images: Tensor, draws: NamedDraws) -> Tensor:
        """Images float [N, C, H, W] in [0, 1], each by its own draws: a pure function, of the same range."""
        return torch.cat([self.one(image[None], of_image(draws, place)) for place, image in enumerate(images)])


def of_image(draws: NamedDraws, place: int) -> Drawn:
    """The numbers of the image at this place, as Python has them."""
    parts = draws.parts.items()
    return {name: of_image(part, place) if isinstance(part, NamedDraws) else part[place].tolist() for name, part in parts}


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """float32 [count], uniform in [low, high)."""
    return low + (high - low) * torch.rand(count, generator=generator)


def happens(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """bool [count]."""
    return torch.rand(count, generator=generator) < probability


def choice(count: int, shares: Sequence[float], generator: torch.Generator) -> Tensor:
    """int64 [count]: places in `shares`, which are their probabilities and add up to 1."""
    return torch.bucketize(torch.rand(count, generator=generator), torch.tensor(shares).cumsum(0)[:-1], right=True)


def seeds(count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: seeds of noise, whose size depends on the image that it is added to."""
    return torch.randint(2**63 - 1, (count,), generator=generator)


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, so that every device has the same noise."""
    return torch.Generator().manual_seed(seed)


def eight_bits(images: Tensor) -> Tensor:
    """Images in [0, 1] as a file of 8 bits a channel gives them back."""
    return images.clamp(0, 1).mul(255).round().div(255)
