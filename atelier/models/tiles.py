"""Pictures of any size through a translator: in tiles, each with as much around it as the network looks at.

How far a network looks is measured with noise, once, where a picture does not fit a tile. Where that has an end, tiles make what
the whole picture would make, to 1e-4, and are never all in memory. Where it has none, since norms look at whole pictures, larger
tiles fade into each other.

A texture that tiles has no end: beyond one edge lies the opposite one. Pictures that wrap are read like that, so that what is
made of them tiles as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from atelier.models.given import PictureError
from atelier.networks.base import Translator

TILE, FADING_TILE, OVERLAP = 256, 512, 64  # pixels a side of what goes in
DEPTHS = (32, 128)  # pixels up to which a network's look is searched for
SURE = 0.75  # of a depth: what is found below has ended
TOLERANCE = 1e-5  # of values in [-1, 1], so that what comes from all sides stays below 1e-4
STRIP = 32  # pixels a side of what is measured, across

Read = Callable[[slice, slice], Tensor]
"""Rows and columns of a picture, float [C, h, w] in [-1, 1]; what lies beyond its sides is as `places` says."""


def places(part: slice, side: int, wrap: bool) -> np.ndarray:
    """Which of `side` pixels these are: beyond the ends the last one again, or, where they wrap, those of the other end."""
    wanted = np.arange(part.start, part.stop)
    return wanted % side if wrap else wanted.clip(0, side - 1)


def reader(picture: Tensor, wrap: bool = False) -> Read:
    """How a picture [C, H, W] is read."""

    def read(rows: slice, columns: slice) -> Tensor:
        down, right = (places(part, side, wrap) for part, side in zip((rows, columns), picture.shape[1:], strict=True))
        return picture[:, down][:, :, right]

    return read


class Tiles:
    """Pictures of any size through a generator of one picture that takes `any_size`; `scale` times as large as they are.

    Where pictures `wrap`, as textures that tile do, so does what is made of them. `tile` is the side of a tile in pixels.
    """

    def __init__(self, generator: Translator, tile: int | None = None, wrap: bool = False) -> None:
        self.generator, self.wanted, self.wrap = generator, tile, wrap
        ((self.name, kind),) = generator.takes.items()
        self.channels, self.trained = kind.channels, kind.resolution  # type: ignore[union-attr]
        self.scale = generator.shape.resolution // self.trained
        self.device = next(generator.parameters()).device

    @cached_property
    def around(self) -> int | None:
        """How many pixels the network looks beyond a tile, None where that has no end; measured when it is first asked for."""
        look = _look(self.generator, self.channels)
        return None if look is None else _up(look, self.generator.multiple)

    @property
    def tile(self) -> int:
        """Pixels a side of a tile."""
        if self.around is None:
            return max(self._of_blocks(FADING_TILE), _up(self.trained, self.generator.multiple))
        return self._of_blocks(TILE)

    def check(self, height: int, width: int) -> None:
        """Raises PictureError where it wraps and its sides are no multiples of the blocks that the network works on."""
        block = self.generator.multiple
        if self.wrap and (height % block or width % block):
            raise PictureError(
                f"{width} x {height} px are no multiples of {block} px, the blocks that this model works on, so that seams would "
                "stay open; resize it, or leave --edges wrap out"
            )

    def side(self, height: int, width: int) -> int:
        """Pixels a side of the tiles of such a picture; its own where it is given to the network whole, or to fading tiles."""
        return max(height, width) if self._fits(height, width) or self.around is None else self.tile

    def count(self, height: int, width: int) -> int:
        """How many parts a picture has."""
        side = self.side(height, width)
        return -(-height // side) * -(-width // side)

    def parts(self, height: int, width: int, read: Read, flat: bool = False) -> Iterator[tuple[int, int, Tensor]]:
        """What the generator makes of a picture, part by part in reading order: top and left in it, and float [c, h, w].

        flat: a tile of one value, with what is around it, stays that value.
        """
        side = self.side(height, width)
        make = self._made if self._fits(height, width) or self.around is not None else self._faded
        for top in range(0, height, side):
            for left in range(0, width, side):
                rows, columns = self._span(top, side, height), self._span(left, side, width)
                given = read(rows, columns)
                if flat and bool((given == given[0, 0, 0]).all()):
                    made = given.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
                else:
                    made = make(given)
                own = [
                    slice((first - part.start) * self.scale, (min(first + side, length) - part.start) * self.scale)
                    for first, part, length in ((top, rows, height), (left, columns, width))
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

    def _of_blocks(self, default: int) -> int:
        """The side that is wanted of tiles in whole blocks of the network, at least two."""
        return _up(max(self.wanted or default, 2 * self.generator.multiple), self.generator.multiple)

    def _fits(self, height: int, width: int) -> bool:
        """Whether a picture is one tile, however far the network looks."""
        return not self.wrap and max(height, width) <= self._of_blocks(TILE)

    def _span(self, first: int, side: int, length: int) -> slice:
        """What a tile needs of `length` pixels, and beyond them: no less than was seen in training."""
        least = _up(self.trained, self.generator.multiple)
        if side >= length and not self.wrap:
            return slice(0, max(_up(length, self.generator.multiple), least))
        assert self.around is not None
        if self.wrap:
            start = first - self.around
            return slice(start, max(min(first + side, length) + self.around, start + least))
        start, end = max(0, first - self.around), max(_up(length, self.generator.multiple), least)
        stop = min(end, max(first + side + self.around, start + least))
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


def translated(generator: Translator, picture: Tensor, tile: int | None = None, wrap: bool = False) -> Tensor:
    """A picture [C, H, W] in [-1, 1] -> what a generator makes of it, [c, scale * H, scale * W].

    Raises PictureError where it wraps and its sides do not suit.
    """
    tiles = Tiles(generator, tile, wrap)
    height, width = picture.shape[1:]
    tiles.check(height, width)
    made = torch.empty(generator.shape.channels, height * tiles.scale, width * tiles.scale)
    for top, left, part in tiles.parts(height, width, reader(picture, wrap)):
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
