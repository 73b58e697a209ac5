"""Pictures of any size through a translator: whole up to the side of a tile, larger ones in tiles that overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.base import Translator

TILE, OVERLAP = 512, 64  # pixels


@torch.inference_mode()
def translated(generator: Translator, picture: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """A picture [C, H, W] in [-1, 1] -> its translation [c, H, W], by a generator of one picture that takes `any_size`.

    Its lower and right rims are repeated up to the trained side and a multiple that the network can halve. Where tiles overlap
    one fades into the next. Norms of single images see a tile by itself, so that a large picture's tiles may differ in tone.
    """
    (name,) = generator.takes
    multiple, height, width = generator.multiple, *picture.shape[1:]
    tile, overlap = (_up(side, multiple) for side in (max(tile, 2 * multiple, generator.shape.resolution), overlap))
    high, wide = (_up(max(side, generator.shape.resolution), multiple) for side in (height, width))
    device = next(generator.parameters()).device
    whole = F.pad(picture[None], (0, wide - width, 0, high - height), mode="replicate").to(device)
    made = torch.zeros(1, generator.shape.channels, high, wide, device=device)
    weights = torch.zeros(1, 1, high, wide, device=device)
    for top in _starts(high, tile, overlap):
        for left in _starts(wide, tile, overlap):
            place = (..., slice(top, top + tile), slice(left, left + tile))
            part = generator.generate({name: whole[place].contiguous()}).float().clamp(-1, 1)
            weight = _fading(part.shape[2], overlap, device)[:, None] * _fading(part.shape[3], overlap, device)
            made[place] += part * weight
            weights[place] += weight
    return (made / weights)[0, :, :height, :width].cpu()


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side; the last two overlap by more."""
    last = max(0, side - tile)
    return [*range(0, last, tile - overlap), last]


def _fading(side: int, overlap: int, device: torch.device) -> Tensor:
    """Weights [side] of the pixels of a tile: 1 in the middle, falling to both ends."""
    place = torch.arange(1, side + 1, device=device)
    return torch.minimum(place, place.flip(0)).clamp(max=overlap) / overlap
