"""Brings pieces of photos into images/photos/ of this folder, as PNG of 128 px: train/ and test/.

They are cut from wallpapers of MATE and Plasma at a half and at a third of their size, and only pieces with detail from pixel to
pixel are kept: of what is out of focus, a restorer learns nothing, and a discriminator calls it real. Whole photos are held out
in test/. They come from Debian's packages mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without
installing them. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from atelier import command_line
from atelier.data import packages, wallpapers

IMAGES, PHOTOS = Path("images"), "photos"
HELD_OUT = frozenset(("mate-Dune", "mate-TwoWings", "plasma-EveningGlow", "plasma-FallenLeaf", "plasma-Grey"))
SIDE = 128  # pixels
LEAST_DETAIL = 8.0  # levels of the mean |Laplacian|


def detail(photo: Image.Image) -> np.ndarray:
    """The mean |Laplacian| of each square of SIDE pixels of a photo in gray levels, float [rows, columns]."""
    gray = np.pad(np.asarray(photo.convert("L"), np.float32), 1, mode="edge")
    middle = gray[1:-1, 1:-1]
    size = np.abs(gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * middle)
    rows, columns = (length // SIDE for length in size.shape)
    squares = size[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    return np.asarray(squares.mean(axis=(1, 3)))


def pieces(photo: Image.Image) -> list[Image.Image]:
    """The squares of SIDE pixels of a photo that have detail, in reading order."""
    places = np.argwhere(detail(photo) >= LEAST_DETAIL) * SIDE
    return [photo.crop((left, top, left + SIDE, top + SIDE)) for top, left in places.tolist()]


def bring(folder: Path) -> str:
    """Fills the folder's photos/; says so. Raises DataError."""
    places = {part: folder / PHOTOS / part for part in ("train", "test")}
    for place in places.values():
        place.mkdir(parents=True)
    counts = dict.fromkeys(places, 0)
    brought = wallpapers.bring(folder / "whole", (2, 3))
    for file in sorted((folder / "whole").iterdir()):
        part = "test" if file.stem.rpartition("-")[0] in HELD_OUT else "train"
        with Image.open(file) as photo:
            for number, piece in enumerate(pieces(photo)):
                piece.save(places[part] / f"{file.stem}-{number}.png")
                counts[part] += 1
        file.unlink()
    (folder / "whole").rmdir()
    return f"{IMAGES / PHOTOS}: {counts['train']} pieces, and {counts['test']} held out, of {brought}"


def main() -> None:
    """Brings the pieces, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the photos", bring, wallpapers.LICENCES)


if __name__ == "__main__":
    command_line.run(main)
