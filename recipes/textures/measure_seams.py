"""Measures the seams of held-out textures that tile: made half as large, and restored with edges that end and that wrap.

Prints how large the step across a seam is, as a share of the steps from pixel to pixel inside, and how far the pixels beside
seams are from the texture. Writes a picture of where four copies of a texture meet: as it was, and with edges that end and that
wrap, a row for each way of making it.

    python measure_seams.py --models models/smooth models/sharp --output seams.png
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from atelier import command_line
from atelier.data.errors import DataError
from atelier.io.files import atomic_write
from atelier.io.pictures import grid, png
from atelier.metrics.pairs import as_large, as_small, psnr
from components.generate import generate

TEXTURES = Path("images/textures/test")
SCALE, TILES = 2, 1.2  # times larger; the largest seam of a texture that tiles, in either direction
RIM, PADDED = 2, 16  # pixels beside a seam; and beyond an edge, more than bicubic enlargement looks at
Edges = Literal["end", "wrap"]
ENDS: Edges = "end"
WRAPS: Edges = "wrap"
EDGES = ENDS, WRAPS
NEAR = 32  # pixels a side that are shown of each of four copies where they meet

Made = dict[str, dict[Edges, np.ndarray]]
"""By way and edges what becomes of the textures, uint8 [n, 3, H, W]."""


def seams(images: np.ndarray) -> np.ndarray:
    """Of uint8 [n, C, H, W] the mean step from the last column to the first one, over that between neighbors; and of rows.

    float64 [n, 2]; what is of one color has no steps, and 1.
    """
    levels, found = images.astype(np.float64), []
    for axis in (3, 2):
        inside = np.abs(np.diff(levels, axis=axis)).mean(axis=(1, 2, 3))
        across = np.abs(levels.take(0, axis) - levels.take(-1, axis)).mean(axis=(1, 2))
        found.append(np.where(inside > 0, across / np.maximum(inside, 1e-9), 1.0))
    return np.stack(found, axis=1)


def rim(images: np.ndarray, textures: np.ndarray) -> float:
    """The PSNR of the pixels beside seams, in decibels, in the mean over images."""
    high, wide = images.shape[2:]
    down, right = (np.minimum(np.arange(side), np.arange(side)[::-1]) < RIM for side in (high, wide))
    beside = down[:, None] | right
    return float(psnr(images[:, :, beside][..., None], textures[:, :, beside][..., None]).mean())


def wrapped(images: np.ndarray, resize: Callable[[np.ndarray], np.ndarray], factor: float) -> np.ndarray:
    """What a resizing makes of textures that tile, which changes their sides by the factor."""
    beyond = ((0, 0), (0, 0), (PADDED, PADDED), (PADDED, PADDED))
    cut = slice(round(PADDED * factor), -round(PADDED * factor))
    return resize(np.pad(images, beyond, mode="wrap"))[:, :, cut, cut]


def textures(folder: Path) -> dict[str, np.ndarray]:
    """Those that tile by name, uint8 [3, H, W]. Raises DataError where there is none."""
    found = {file.stem: np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1) for file in sorted(folder.glob("*.png"))}
    tiling = {name: one for name, one in found.items() if seams(one[None]).max() <= TILES}
    if not tiling:
        raise DataError(f"{folder}: no texture there that tiles; bring them by `python get_images.py`")
    return tiling


def restored(model: str, small: np.ndarray, edges: Edges) -> np.ndarray:
    """What `python -m components.generate` makes of pictures uint8 [n, 3, h, w]."""
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch, "given"), Path(scratch, "made")
        given.mkdir()
        for number, one in enumerate(small):
            Image.fromarray(one.transpose(1, 2, 0)).save(given / f"{number:06}.png")
        files = [made / one["file"] for one in generate(Path(model), made, Path("cache"), image=str(given), edges=edges)]
        return np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])


def table(real: np.ndarray, made: Made) -> list[str]:
    """The lines of the table, in Markdown."""
    head = ["of the textures that tile", *(f"{what}, edges {edges}" for what in ("seam", "PSNR beside seams") for edges in EDGES)]
    rows = [head, ["---"] * len(head), ["as they were", f"{seams(real).mean():.2f}", "", "", ""]]
    for name, by_edges in made.items():
        steps = [f"{seams(by_edges[edges]).mean():.2f}" for edges in EDGES]
        rows.append([name, *steps, *(f"{rim(by_edges[edges], real):.1f} dB" for edges in EDGES)])
    return [f"| {' | '.join(row)} |" for row in rows]


def where_copies_meet(texture: int, real: np.ndarray, made: Made) -> Image.Image:
    """Four copies of a texture: a row for each way, as it was, and with edges that end and that wrap."""
    shown = [one[texture] for by_edges in made.values() for one in (real, by_edges[ENDS], by_edges[WRAPS])]
    return grid(middle(np.tile(np.stack(shown), (1, 1, 2, 2)), 2 * NEAR), 3, 4)


def middle(images: np.ndarray, side: int) -> np.ndarray:
    """The middle of images [n, C, H, W], [n, C, side, side]."""
    top, left = ((length - side) // 2 for length in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]


def main() -> None:
    """Measures, writes the pictures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["models/smooth", "models/sharp"], metavar="MODEL", help="default: both")
    parser.add_argument("--output", type=Path, default=Path("seams.png"), metavar="FILE", help="the picture; default: seams.png")
    parser.add_argument("--texture", default="acc_dm5-mud02b", metavar="NAME", help="that is shown; default: acc_dm5-mud02b")
    args = parser.parse_args()
    tiling = textures(TEXTURES)
    if args.texture not in tiling:
        raise DataError(f"--texture {args.texture}: not among those that tile, which are {', '.join(tiling)}; name another")
    texture, real = list(tiling).index(args.texture), np.stack(list(tiling.values()))
    small = wrapped(real, lambda images: as_small(images, SCALE), 1 / SCALE)
    made = {"bicubic": {ENDS: as_large(small, SCALE), WRAPS: wrapped(small, lambda images: as_large(images, SCALE), SCALE)}}
    made |= {Path(model).name: {edges: restored(model, small, edges) for edges in EDGES} for model in args.models}
    atomic_write(args.output, png(where_copies_meet(texture, real, made)))
    print(*table(real, made), f"{len(real)} textures; picture: {args.output}", sep="\n")


if __name__ == "__main__":
    command_line.run(main)
