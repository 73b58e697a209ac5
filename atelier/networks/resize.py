"""Bicubic resizing as MATLAB's imresize does it: Keys' kernel (a = -0.5), widened where it shrinks, and mirrored borders.

PyTorch's antialiased kernel is the same one. At a border PyTorch leaves out what is outside the image, so the image is mirrored
here first, and what that added is cut off again.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = 2  # pixels of the coarser of both images that the kernel reaches to each side


def shrunk(images: Tensor, factor: int) -> Tensor:
    """Images float [N, C, H, W] of any range at 1 / `factor` of their sides, which are multiples of it; overshoots stay."""
    height, width = (side // factor for side in images.shape[2:])
    if (height * factor, width * factor) != images.shape[2:]:
        raise ValueError(f"sides {tuple(images.shape[2:])} are no multiples of {factor}")
    return _resized(mirrored(images, REACH * factor), (height + 2 * REACH, width + 2 * REACH), REACH)


def enlarged(images: Tensor, factor: int) -> Tensor:
    """Images float [N, C, H, W] of any range at `factor` times their sides; overshoots stay."""
    height, width = ((side + 2 * REACH) * factor for side in images.shape[2:])
    return _resized(mirrored(images, REACH), (height, width), REACH * factor)


def mirrored(images: Tensor, border: int) -> Tensor:
    """Images [N, C, H, W] with `border` pixels more on each side, whose outermost pixels come twice in a row: b a | a b c."""
    for dim in (2, 3):
        side = images.shape[dim]
        place = torch.arange(-border, side + border, device=images.device)
        place = place % torch.full_like(place, 2 * side)  # a number that is traced has no ONNX form
        images = images.index_select(dim, torch.minimum(place, 2 * side - 1 - place))
    return images


def _resized(images: Tensor, size: tuple[int, int], border: int) -> Tensor:
    """Images of that size, of which `border` pixels on each side are cut off."""
    whole = F.interpolate(images, size=size, mode="bicubic", antialias=True)
    return whole[:, :, border : size[0] - border, border : size[1] - border]
