"""JPEG, as files have it."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def compressed(image: Tensor, quality: int) -> Tensor:
    """An image [1, C, H, W] in [0, 1], gray or in color, after it was written as JPEG and read again."""
    pixels = image[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        found = np.asarray(read).reshape(pixels.shape)
    return torch.from_numpy(found.copy()).permute(2, 0, 1)[None].to(image.device, image.dtype).div(255)
