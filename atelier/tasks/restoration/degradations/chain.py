"""From clean images to those that are to be restored: degradations one after the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atelier.tasks.patch_adversarial import NamedDraws
from atelier.tasks.restoration.degradations.base import Degradation, eight_bits
from atelier.tasks.restoration.degradations.bicubic import Bicubic
from atelier.tasks.restoration.degradations.blur import Blur
from atelier.tasks.restoration.degradations.noise import Noise
from atelier.tasks.restoration.degradations.realesrgan import RealESRGAN
from atelier.tasks.restoration.degradations.settings import Degradations

MADE: dict[str, Callable[[Degradations, int], Degradation]] = {
    "bicubic": lambda settings, scale: Bicubic(scale),
    "noise": lambda settings, scale: Noise(settings.noise),
    "blur": lambda settings, scale: Blur(settings.blur),
    "realesrgan": lambda settings, scale: RealESRGAN(scale),
}


class Chain:
    """The degradations of the settings in order; what they give is `scale` times smaller and of 8 bits, as files are.

    Raises ValueError where they do not give that size.
    """

    def __init__(self, settings: Degradations, scale: int) -> None:
        settings.check(scale)
        self.scale = scale
        self.steps = {f"{place}.{name}": MADE[name](settings, scale) for place, name in enumerate(settings.order)}

    def draw(self, count: int, side: int, generator: torch.Generator) -> NamedDraws:
        """The random numbers of `count` images of `side` pixels, on the CPU, sliced by image.

        Raises ValueError for a side that is no multiple of the scale.
        """
        if side % self.scale:
            raise ValueError(f"images of {side} px cannot become {self.scale} times smaller; take a multiple of {self.scale}")
        return NamedDraws({name: step.draw(count, generator) for name, step in self.steps.items()})

    @torch.no_grad()
    def apply(self, images: Tensor, draws: NamedDraws) -> Tensor:
        """Images float [N, C, H, W] in [0, 1] -> [N, C, H // scale, W // scale], each by its own draws: a pure function."""
        with torch.autocast("cpu", enabled=False), torch.autocast(images.device.type, enabled=False):  # 8 bits need more than 8
            images = images.float()
            for name, step in self.steps.items():
                images = step.apply(images, draws.parts[name])
        return eight_bits(images)
