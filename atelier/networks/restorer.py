"""What the networks that restore pictures share: small or noisy ones become large and clean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks import resize as bicubic
from atelier.networks.base import Translator
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape, NetworkError, scaled_init, wide

SCALES = 1, 2, 3, 4
SMALL = 0.1 * math.sqrt(2)  # a tenth of He's weights, where residuals are added (Wang et al. 2018, section 3.1)


class Restorer(Translator):
    """A picture to one of `scale` times its side: forward(image=[N, C, h, w]) -> [N, C, scale * h, scale * w].

    The scale is the side of `shape` over that of the input. Layers see pixels of [0, 1] with zeros around them, as in the papers,
    so that published weights fit. A family defines `restored`.
    """

    memory_format = torch.channels_last  # none of them has norms of single images
    multiple = 1
    restores = True

    def __init__(self, settings: Any, shape: ImageShape, takes: Takes, scales: tuple[int, ...] = SCALES) -> None:
        super().__init__(settings, shape, takes)
        pictures = [kind for kind in takes.values() if isinstance(kind, Picture)]
        if len(takes) > 1 or [kind.channels for kind in pictures] != [shape.channels]:
            raise NetworkError(
                f"{settings.name()} restores one picture of {shape.channels} channels, and the inputs are others: choose another "
                "model.architecture"
            )
        self.scale, rest = divmod(shape.resolution, pictures[0].resolution)
        if rest or self.scale not in scales:
            raise NetworkError(
                f"{settings.name()} makes pictures {' or '.join(map(str, scales))} times as large, not of {shape.resolution} px "
                f"from {pictures[0].resolution}: choose another scale"
            )

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        pixels = self.pixels(inputs)
        return self.images(self.restored(pixels), pixels)

    def pixels(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The picture in [0, 1]."""
        planes: Tensor = self.planes(inputs)
        return (planes + 1) / 2

    def restored(self, pixels: Tensor) -> Tensor:
        """Pixels [N, C, h, w] in [0, 1] -> what the layers make of them, [N, C, scale * h, scale * w]."""
        raise NotImplementedError

    def images(self, restored: Tensor, pixels: Tensor) -> Tensor:
        """What the layers have made of `pixels` as images, about [-1, 1]."""
        found = wide(restored)  # 16 bits have no place for 8 bits of a picture beside its sign
        return (found + enlarged(pixels, self.scale) if self.settings.residual else found) * 2 - 1


class Enlarger(Restorer):
    """A restorer that may correct its images so that they, shrunk again, give the picture that they were made of.

    Each of `back_projection` corrections shrinks the image as the degradation `bicubic` does, and adds the difference between
    the picture and that, enlarged bicubically (Irani and Peleg 1991).
    """

    def __init__(self, settings: Any, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        if settings.back_projection and self.scale == 1:
            raise NetworkError(
                f"model.{settings.name()}.back_projection is {settings.back_projection}, and pictures keep their side, so that "
                "nothing is shrunk again: set it to 0"
            )

    def images(self, restored: Tensor, pixels: Tensor) -> Tensor:
        images, given = super().images(restored, pixels), pixels * 2 - 1
        for _ in range(self.settings.back_projection):
            images = images + bicubic.enlarged(given - bicubic.shrunk(images, self.scale), self.scale)
        return images


def enlarged(pixels: Tensor, scale: int) -> Tensor:
    """[N, C, h, w] -> [N, C, scale * h, scale * w], interpolated bilinearly between pixel centers."""
    return pixels if scale == 1 else F.interpolate(pixels, scale_factor=scale, mode="bilinear", align_corners=False)


def convolution(inner: int, outer: int, side: int = 3, gain: float | None = None) -> nn.Conv2d:
    """A layer that keeps the side, with zeros around; `gain` scales He's first weights, None leaves PyTorch's."""
    layer = nn.Conv2d(inner, outer, side, padding=side // 2)
    return layer if gain is None else scaled_init(layer, gain)  # type: ignore[no-any-return]
