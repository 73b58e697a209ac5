"""Brings photos into images/photos/ of this folder, and simulates star fields: images/stars/ and images/catalogs/.

The photos are wallpapers of MATE and Plasma at half their size, from Debian's packages mate-backgrounds and
plasma-workspace-wallpapers, which apt-get fetches without installing them. A star field is what a camera without noise would
have, in 8 bits of the square root of its light, 255 for 10,000 photons; its catalog says where each star and galaxy lies, and
how many photons of it there are in each band. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from star_fields import simulate, write_8_bits, write_catalog

from atelier import command_line
from atelier.data import packages, wallpapers
from atelier.io.progress import bar

IMAGES, PHOTOS, STARS, CATALOGS = Path("images"), "photos", "stars", "catalogs"
FIELDS, SIDE = 40, 512
SEED = 1000  # of the first field, which each further one counts up


def bring(folder: Path) -> str:
    """Fills the folder with photos/, stars/ and catalogs/; says so. Raises DataError, WriteError."""
    photos = wallpapers.bring(folder / PHOTOS)
    for name in (STARS, CATALOGS):
        (folder / name).mkdir()
    sources = 0
    with bar("star fields", FIELDS) as progress:
        for seed in range(SEED, SEED + FIELDS):
            field = simulate(SIDE, seed)
            write_8_bits(folder / STARS / f"{seed}.png", field.photons, np.random.default_rng([seed, 1]))
            write_catalog(folder / CATALOGS / f"{seed}.csv", field.sources)
            sources += len(field.sources)
            progress.update(1)
    return f"{IMAGES / PHOTOS}: {photos}\n{IMAGES / STARS}: {FIELDS} simulated fields with {sources} stars and galaxies"


def main() -> None:
    """Brings the photos and simulates the fields, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the photos and the star fields", bring, wallpapers.LICENCES)


if __name__ == "__main__":
    command_line.run(main)
