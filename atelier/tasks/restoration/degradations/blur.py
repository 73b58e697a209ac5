"""Gaussian blur."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import Degradation, Drawn, happens, uniform
from atelier.tasks.restoration.degradations.kernels import blurred, distances, gaussian
from atelier.tasks.restoration.degradations.settings import Blur as Settings

REACH = 3  # deviations from the center at which a kernel ends


class Blur(Degradation):
    """A Gaussian of its own for each image, round or drawn out in a direction."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        low, high = self.settings.sigma
        along, across = (uniform(count, low, high, generator) for _ in range(2))
        anisotropic = happens(count, self.settings.anisotropic, generator)
        return NamedDraws(
            {
                "sigma_x": along,
                "sigma_y": torch.where(anisotropic, across, along),
                "angle": uniform(count, 0, math.pi, generator),
            }
        )

    def one(self, image: Tensor, drawn: Drawn) -> Tensor:
        size = 2 * math.ceil(REACH * max(drawn["sigma_x"], drawn["sigma_y"])) + 1
        return blurred(image, gaussian(distances(size, **drawn))).clamp(0, 1)
