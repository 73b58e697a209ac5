"""Shrinking as the benchmarks of super-resolution do it."""

from __future__ import annotations

import torch
from torch import Tensor

from atelier.networks.resize import shrunk
from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import Degradation, Drawn


class Bicubic(Degradation):
    """MATLAB's imresize by 1 / `scale`, overshoots clipped; nothing of it is random."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def draw(self, count: int, generator: torch.Generator) -> NamedDraws:
        return NamedDraws({})

    def one(self, image: Tensor, drawn: Drawn) -> Tensor:
        return shrunk(image, self.scale).clamp(0, 1)
