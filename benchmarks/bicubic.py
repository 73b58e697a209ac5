"""How far is bicubic enlargement from the pictures of a folder? The baseline of super-resolution, by the protocol of its tables.

Each picture is cropped to a multiple of the scale, shrunk as MATLAB's imresize does, rounded to 8 bits and enlarged again.
Measured are Y (luma from 16 to 235) and RGB, without a border of as many pixels as the scale: what `evaluate` calls
bicubic_psnr_y, bicubic_ssim_y, bicubic_psnr and bicubic_ssim. Of Set5 the tables have 28.42 dB on Y at x4.

    python -m benchmarks.bicubic data/raw/Set5 --scale 4
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from atelier.data.errors import DataError
from atelier.metrics.pairs import WINDOW, PairReader, as_small, of_luma, psnr, ssim
from atelier.tasks.sampling import Sample
from benchmarks.measured import show, table
from components import cli

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
ERRORS = {
    "PSNR Y": PairReader(of_luma(psnr), border=True),
    "SSIM Y": PairReader(of_luma(ssim), border=True, least=WINDOW),
    "PSNR RGB": PairReader(psnr, border=True),
    "SSIM RGB": PairReader(ssim, border=True, least=WINDOW),
}
# On Y: Kim et al. 2016 (VDSR), table 2. There Y is resized instead of colors, which moves a picture by some 0.01 dB.
PUBLISHED = {
    "Set5": {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)},
    "Set14": {2: (30.24, 0.8688), 3: (27.55, 0.7742), 4: (26.00, 0.7027)},
}


def picture(path: Path, scale: int) -> np.ndarray:
    """uint8 [1, C, H, W], gray or in color, its right and lower edges cut to a multiple of the scale.

    Raises DataError for a file that is no picture, and for a picture in which SSIM finds no place for its window.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError where the chunks of a PNG are broken
        raise DataError(f"{path}: cannot be read as a picture; repair it, or take it out of the folder") from error
    height, width = (side - side % scale for side in pixels.shape[:2])
    if min(height, width) < (least := WINDOW + 2 * scale):
        raise DataError(
            f"{path}: has {pixels.shape[1]} x {pixels.shape[0]} px, and x{scale} needs {math.ceil(least / scale) * scale} px a "
            f"side: SSIM looks through {WINDOW} px, and {scale} px of each side are left out; take it out of the folder"
        )
    return np.ascontiguousarray(np.atleast_3d(pixels)[:height, :width].transpose(2, 0, 1)[None])


def errors(path: Path, scale: int) -> list[float]:
    """Those of bicubic enlargement, in the order of ERRORS."""
    target = picture(path, scale)
    sample = Sample(target, target, as_small(target, scale))
    return [float(reader.read(sample)[0, 1]) for reader in ERRORS.values()]


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in order. Raises DataError where there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{folder}: has no pictures ({', '.join(SUFFIXES)}); name the folder that holds them")
    return found


def report(folder: Path, scale: int) -> Iterator[str]:
    """Lines of the table: each picture, mean and median, and what is published."""
    paths = pictures(folder)
    found = np.array([errors(path, scale) for path in paths])
    named = [
        *zip((path.stem for path in paths), found, strict=True),
        ("mean", found.mean(axis=0)),
        ("median", np.median(found, axis=0)),
    ]
    rows = [[name, *(f"{value:.{digits}f}" for value, digits in zip(row, (2, 4, 2, 4), strict=True))] for name, row in named]
    yield f"bicubic, x{scale}, {len(paths)} pictures of {folder}; {scale} px of each side left out"
    yield ""
    yield from table(["picture", *ERRORS], rows)
    yield ""
    for name, values in PUBLISHED.items():
        decibels, similarity = values[scale]
        yield f"published for {name}: {decibels:.2f} dB and {similarity:.4f} on Y, means"


def main() -> None:
    """Measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures, such as those of Set5")
    parser.add_argument("--scale", type=int, default=4, choices=(2, 3, 4), help="default: 4")
    args = parser.parse_args()
    show(report(args.folder, args.scale), None)


if __name__ == "__main__":
    cli.run(main)
