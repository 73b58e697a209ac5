"""Pictures sharpened by an unsharp mask, which a restorer is held to (Wang et al. 2021, Real-ESRGAN, section 3.4).

The numbers are those of the authors' code: a Gaussian of 51 pixels, half of the difference from it, where that exceeds 10 levels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH, SIGMA = 25, 8.0  # pixels: half of the kernel without its middle; OpenCV's sigma for 51 of them, 0.3 * 24 + 0.8
WEIGHT, THRESHOLD = 0.5, 10 / 255


@torch.no_grad()
def sharpened(images: Tensor) -> Tensor:
    """Pictures [N, C, H, W] in [-1, 1], of sides above 25 px -> the same with half of what a blur takes away added to edges.

    An edge is where that exceeds 10 of 255 levels; its mask is blurred as the picture was, so that it has no rim. What is added
    stays within [-1, 1].
    """
    with torch.autocast("cpu", enabled=False), torch.autocast(images.device.type, enabled=False):  # 8 bits need more than 8
        pixels = (images + 1) / 2
        lost = pixels - _blurred(pixels)
        mask = _blurred((lost.abs() > THRESHOLD).to(pixels.dtype))
        added = (pixels + WEIGHT * lost).clamp(0, 1) - pixels
        return (pixels + mask * added) * 2 - 1


def _blurred(planes: Tensor) -> Tensor:
    """A Gaussian over both sides, mirrored at the rims without repeating them."""
    places = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    kernel = torch.exp(-(places**2) / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).to(planes)
    single = F.pad(planes.flatten(0, 1)[:, None], (REACH,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(single, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)).view_as(planes)
