"""Picture files of any size through a translator, to PNG files.

Where it restores, these keep what the files hold: 16 bits, transparency, profile. Any other translator sees pictures as those
that trained it: 8 bits of sRGB over the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.data.kept import Kept, flat, kept
from atelier.data.process import Recipe
from atelier.io.files import atomic_file
from atelier.io.png import PngWriter
from atelier.io.progress import bar
from atelier.models.tiles import Read, Tiles, places
from atelier.provenance import labels
from atelier.provenance.leaving import signed

RINGS = 8  # pixels that colors are continued into what is transparent


def translate(tiles: Tiles, content: bytes, recipe: Recipe, about: Mapping[str, Any], name: str, output: Path) -> None:
    """Writes what the generator of `tiles` makes of the picture in a file, labelled with `about`.

    `name` is that of the input which the picture is. Raises Rejected where it cannot be read, PictureError where it wraps and
    its sides do not suit, WriteError, KeyFilesError, CredentialsError.

    A row of tiles at a time is in memory beside the picture that is given. A generator that enlarges does so with transparency,
    too, as a picture in gray; what is all transparent or all opaque stays so.
    """
    picture = kept(content, recipe) if tiles.generator.restores else flat(content, recipe)
    height, width = picture.pixels.shape[:2]
    tiles.check(height, width)
    channels = tiles.generator.shape.channels
    dtype, transparent = picture.pixels.dtype, picture.alpha is not None
    parts = tiles.count(height, width) * (1 + (transparent and tiles.scale > 1))
    given = {name: content}
    with (
        bar(output.name, parts, parts > 1, unit="tiles") as shown,
        atomic_file(output) as whole,
        signed(whole, "image/png", about, given) as file,
    ):
        writer = PngWriter(
            file, width * tiles.scale, height * tiles.scale, channels + transparent, 8 * dtype.itemsize,
            {labels.ABOUT: labels.text(about)}, picture.profile, {labels.XMP_KEYWORD: labels.xmp(about)},
        )  # fmt: skip
        colors = tiles.bands(height, width, _colors(picture, tiles.wrap), dtype, done=shown.update)
        alphas = _alphas(tiles, picture, shown.update) if transparent else None
        for band in colors:
            writer.write(band if alphas is None else np.concatenate([band, next(alphas)], axis=2))
        writer.close()


def _colors(picture: Kept, wrap: bool) -> Read:
    """How the colors are read. What is transparent has those of its neighbors, lest a hidden color shines through at edges."""

    def read(rows: slice, columns: slice) -> Tensor:
        if picture.alpha is None:
            return _floats(_region(picture.pixels, rows, columns, wrap))
        rows, columns = (slice(part.start - RINGS, part.stop + RINGS) for part in (rows, columns))
        visible = torch.from_numpy(_region(picture.alpha, rows, columns, wrap) > 0)
        return _continued(_floats(_region(picture.pixels, rows, columns, wrap)), visible)[:, RINGS:-RINGS, RINGS:-RINGS]

    return read


def _alphas(tiles: Tiles, picture: Kept, done: Callable[[], object]) -> Iterator[np.ndarray]:
    """The transparency in bands as high as those of the colors, [n, W, 1]."""
    alpha = picture.alpha
    assert alpha is not None
    height, width = alpha.shape

    def read(rows: slice, columns: slice) -> Tensor:
        return _floats(_region(alpha[..., None], rows, columns, tiles.wrap)).expand(tiles.channels, -1, -1)

    if tiles.scale > 1:
        for band in tiles.bands(height, width, read, alpha.dtype, flat=True, done=done):
            yield band.mean(axis=2, keepdims=True).round().astype(alpha.dtype)
        return
    step = tiles.side(height, width)
    for first in range(0, height, step):
        yield alpha[first : first + step, :, None]


def _region(values: np.ndarray, rows: slice, columns: slice, wrap: bool) -> np.ndarray:
    """A part of [H, W, ...], which may reach beyond it."""
    down, right = (places(part, side, wrap) for part, side in zip((rows, columns), values.shape[:2], strict=True))
    return values[down[:, None], right]


def _floats(values: np.ndarray) -> Tensor:
    """uint8 or uint16 [h, w, C] -> float [C, h, w] in [-1, 1]."""
    half = np.iinfo(values.dtype).max / 2
    return torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1).div(half).sub(1)


def _continued(colors: Tensor, visible: Tensor) -> Tensor:
    """Colors [C, h, w] that reach RINGS pixels into what is not visible, [h, w]: means of what lies around."""
    known = visible[None].float()
    for _ in range(RINGS):
        share = F.avg_pool2d(known, 3, 1, 1)
        near = F.avg_pool2d(colors * known, 3, 1, 1) / share.clamp(min=1e-6)
        colors = torch.where((known == 0) & (share > 0), near, colors)
        known = (share > 0).float()
    return colors
