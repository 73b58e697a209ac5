"""Pictures of any size through a translator: in tiles, each with as much around it as the network looks at.

How far a network looks is measured with noise. Where that has an end, tiles make what the whole picture would make, to 1e-4, and
are never all in memory. Where it has none, since norms look at whole pictures, larger tiles fade into each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from atelier.networks.base import Translator

TILE, FADING_TILE, OVERLAP = 256, 512, 64  # pixels a side of what goes in
DEPTHS = (32, 64, 128)  # pixels up to which a network's look is searched for
SURE = 0.75  # of a depth: what is found below has ended
TOLERANCE = 1e-5  # of values in [-1, 1], so that what comes from all sides stays below 1e-4
STRIP = 64  # pixels a side of what is measured, across

Read = Callable[[slice, slice], Tensor]
"""Rows and columns of a picture, float [C, h, w] in [-1, 1]; its rims are repeated beyond them."""


def reader(picture: Tensor) -> Read:
    """How a picture [C, H, W] is read."""

    def read(rows: slice, columns: slice) -> Tensor:
        down, right = (
            torch.arange(part.start, part.stop).clamp(0, side - 1)
            for part, side in zip((rows, columns), picture.shape[1:], strict=True)
        )
        return picture[:, down][:, :, right]

    return read


class Tiles:
    """Pictures of any size through a generator of one picture that takes `any_size`; `scale` times as large as they are.

    `around` is how far the network looks beyond a tile, None where that has no end.
    """

    def __init__(self, generator: Translator, tile: int | None = None) -> None:
        self.generator = generator
        ((self.name, kind),) = generator.takes.items()
        self.channels, self.trained = kind.channels, kind.resolution  # type: ignore[union-attr]
        self.scale = generator.shape.resolution // self.trained
        self.device = next(generator.parameters()).device
        multiple = generator.multiple
        look = _look(generator, self.channels)
        self.around = None if look is None else _up(look, multiple)
        wanted = tile or (FADING_TILE if look is None else TILE)
        self.tile = _up(max(wanted, 2 * multiple, self.trained if look is None else 1), multiple)

    def count(self, height: int, width: int) -> int:
        """How many parts a picture has."""
        return 1 if self.around is None else -(-height // self.tile) * -(-width // self.tile)

    def parts(self, height: int, width: int, read: Read, flat: bool = False) -> Iterator[tuple[int, int, Tensor]]:
        """What the generator makes of a picture, part by part in reading order: top and left in it, and float [c, h, w].

        flat: a tile of one value, with what is around it, stays that value.
        """
        high, wide = (_up(max(side, self.trained), self.generator.multiple) for side in (height, width))
        if self.around is None:
            yield 0, 0, self._faded(read(slice(0, high), slice(0, wide)))[:, : height * self.scale, : width * self.scale]
            return
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                rows, columns = self._span(top, high), self._span(left, wide)
                given = read(rows, columns)
                if flat and bool((given == given[0, 0, 0]).all()):
                    made = given.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
                else:
                    made = self._made(given)
                own = [
                    slice((first - part.start) * self.scale, (min(first + self.tile, side) - part.start) * self.scale)
                    for first, part, side in ((top, rows, height), (left, columns, width))
                ]
                yield top * self.scale, left * self.scale, made[:, own[0], own[1]]

    def bands(
        self, height: int, width: int, read: Read, dtype: np.dtype, flat: bool = False, done: Callable[[], object] = lambda: None
    ) -> Iterator[np.ndarray]:
        """What the generator makes of a picture as rows from the top, uint8 or uint16 [n, W, c], those of a row of tiles at once.

        `done` is called after each part.
        """
        band, first = np.empty((0, 0, 0), dtype), 0
        for top, left, part in self.parts(height, width, read, flat):
            if top != first:
                yield band
            if left == 0:
                first, band = top, np.empty((part.shape[1], width * self.scale, part.shape[0]), dtype)
            band[:, left : left + part.shape[2]] = quantized(part, dtype).transpose(1, 2, 0)
            done()
        yield band

    @torch.inference_mode()
    def _made(self, given: Tensor) -> Tensor:
        made = self.generator.generate({self.name: given[None].contiguous().to(self.device)})
        return made[0].float().clamp(-1, 1).cpu()

    def _span(self, first: int, side: int) -> slice:
        """What a tile needs of `side` pixels, with the repeated rims of a picture: no less than was seen in training."""
        assert self.around is not None
        least, start = _up(self.trained, self.generator.multiple), max(0, first - self.around)
        stop = min(side, max(first + self.tile + self.around, start + least))
        return slice(max(0, min(start, stop - least)), stop)

    def _faded(self, whole: Tensor) -> Tensor:
        """Where tiles overlap one fades into the next. Norms see a tile by itself, so that tiles may differ in tone."""
        high, wide = whole.shape[1:]
        overlap = min(_up(OVERLAP, self.generator.multiple), self.tile // 2)
        made = torch.zeros(self.generator.shape.channels, high * self.scale, wide * self.scale)
        weights = torch.zeros(1, *made.shape[1:])
        for top in _starts(high, self.tile, overlap):
            for left in _starts(wide, self.tile, overlap):
                part = self._made(whole[:, top : top + self.tile, left : left + self.tile])
                weight = _fading(part.shape[1], overlap * self.scale)[:, None] * _fading(part.shape[2], overlap * self.scale)
                place = (
                    slice(None),
                    slice(top * self.scale, top * self.scale + part.shape[1]),
                    slice(left * self.scale, left * self.scale + part.shape[2]),
                )
                made[place] += part * weight
                weights[place] += weight
        return made / weights


def translated(generator: Translator, picture: Tensor, tile: int | None = None) -> Tensor:
    """A picture [C, H, W] in [-1, 1] -> what a generator makes of it, [c, scale * H, scale * W]."""
    tiles = Tiles(generator, tile)
    height, width = picture.shape[1:]
    made = torch.empty(generator.shape.channels, height * tiles.scale, width * tiles.scale)
    for top, left, part in tiles.parts(height, width, reader(picture)):
        made[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return made


def quantized(values: Tensor, dtype: np.dtype) -> np.ndarray:
    """[-1, 1] -> uint8 or uint16, rounded to the nearest."""
    half = np.iinfo(dtype).max / 2
    return values.clamp(-1, 1).double().add(1).mul(half).round().numpy().astype(dtype)


@torch.inference_mode()
def _look(generator: Translator, channels: int) -> int | None:
    """How many pixels beyond a place change it by TOLERANCE or more; None where no end is found.

    A strip of noise is drawn anew on one side of its middle; how far the change reaches into the other side is the answer.
    """
    ((name, kind),) = generator.takes.items()
    device, random = next(generator.parameters()).device, torch.Generator().manual_seed(0)
    scale = generator.shape.resolution // kind.resolution  # type: ignore[union-attr]
    across = _up(STRIP, generator.multiple)
    for depth in sorted({_up(depth, generator.multiple) for depth in DEPTHS}):
        first, other = torch.rand(2, channels, across, 2 * depth, generator=random) * 2 - 1
        before, behind = first.clone(), first.clone()
        before[..., :depth], behind[..., depth:] = other[..., :depth], other[..., depth:]
        strips = torch.stack([first, before, behind])
        found = 0
        for upright in (False, True):
            given = (strips.mT if upright else strips).contiguous().to(device)
            made = generator.generate({name: given}).float().cpu()
            made = made.mT if upright else made
            changes = (made[1:] - made[0]).abs().amax(dim=(1, 2)) >= TOLERANCE  # [2, columns]
            into = torch.stack([changes[0, depth * scale :], changes[1, : depth * scale].flip(0)])
            columns = into.any(dim=0).nonzero()
            found = max(found, -(-(int(columns.max()) + 1) // scale) if len(columns) else 0)
        if found <= SURE * depth:
            return found
    return None


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side; the last two overlap by more."""
    last = max(0, side - tile)
    return [*range(0, last, tile - overlap), last]


def _fading(side: int, overlap: int) -> Tensor:
    """Weights [side] of the pixels of a tile: 1 in the middle, falling to both ends."""
    place = torch.arange(1, side + 1)
    return torch.minimum(place, place.flip(0)).clamp(max=overlap) / overlap
