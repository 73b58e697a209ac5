"""Noise of sensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import Degradation, Drawn, seeded, seeds, uniform
from atelier.tasks.restoration.degradations.settings import Noise as Settings


class Noise(Degradation):
    """Photons are counted and read, then come Gaussian noise and hot pixels; what leaves [0, 1] is clipped.

    All of it happens to light, which images hold as it is or as its square root.
    """

    def __init__(self, settings: Settings) -> None:
        self.amounts, self.stretched = settings.amounts, settings.stretch == "square_root"

    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        drawn = {"seed": seeds(count, generator)}
        for name, (low, high) in self.amounts.items():
            if name == "poisson":  # a range of several orders of magnitude
                drawn[name] = uniform(count, math.log(low), math.log(high), generator).exp()
            else:
                drawn[name] = uniform(count, low, high, generator)
        return NamedDraws(drawn)

    def one(self, image: Tensor, drawn: Drawn) -> Tensor:
        random, noisy = seeded(drawn["seed"]), image.cpu()
        if self.stretched:
            noisy = noisy.square()
        if "poisson" in drawn:
            noisy = counted(noisy, drawn["poisson"], drawn.get("read_noise", 0.0), random)
        if "gaussian" in drawn:
            noisy = noisy + torch.randn(noisy.shape, generator=random) * (drawn["gaussian"] / 255)
        noisy = noisy.clamp(0, 1)
        if "hot_pixels" in drawn:
            hot = torch.rand(noisy.shape, generator=random) < drawn["hot_pixels"]
            noisy = torch.where(hot, noisy + (1 - noisy) * torch.rand(noisy.shape, generator=random), noisy)
        return (noisy.sqrt() if self.stretched else noisy).to(image.device, non_blocking=True)


def counted(image: Tensor, photons: float, read_noise: float, random: torch.Generator) -> Tensor:
    """Images in [0, 1] as a sensor has them: white is `photons`, whose number varies; reading adds Gaussian noise of photons."""
    found = torch.poisson(image * photons, random) + torch.randn(image.shape, generator=random) * read_noise
    return found / photons
