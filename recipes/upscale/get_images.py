"""Brings photos into images/photos/ of this folder: wallpapers of MATE and Plasma at half their size, as PNG.

They come from Debian's packages mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without installing them.
Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

from atelier import command_line
from atelier.data import packages, wallpapers

IMAGES, PHOTOS = Path("images"), "photos"


def bring(folder: Path) -> str:
    """Fills the folder's photos/; says so. Raises DataError."""
    return f"{IMAGES / PHOTOS}: {wallpapers.bring(folder / PHOTOS)}"


def main() -> None:
    """Brings the photos, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the photos", bring, wallpapers.LICENCES)


if __name__ == "__main__":
    command_line.run(main)
