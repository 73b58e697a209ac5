"""Brings photos into images/ of this folder: wallpapers of MATE and Plasma at half their size, as PNG.

Half the size, since what a camera and JPEG have smoothed is no detail that could be learnt. They come from Debian's packages
mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without installing them. Images that are there are left as
they are.

    python get_images.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.files import atomic_folder
from atelier.io.progress import bar

IMAGES = Path("images")
MATE, PLASMA = "mate-backgrounds", "plasma-workspace-wallpapers"
FOLDERS = {MATE: "usr/share/backgrounds/mate/nature", PLASMA: "usr/share/wallpapers"}
PHOTOS = {
    MATE: [
        *("Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm", "TwoWings", "Wood"),
        "YellowFlower",
    ],
    PLASMA: [
        *(
            "Autumn",
            "BytheWater",
            "ColdRipple",
            "ColorfulCups",
            "DarkestHour",
            "EveningGlow",
            "FallenLeaf",
            "Kite",
            "OneStandsOut",
        ),
        *("Path", "summer_1am"),
    ],
}
NOTICE = "NOTICE.txt"
LICENCES = """\
mate-*: Debian's mate-backgrounds, GPL-2+
plasma-*: Debian's plasma-workspace-wallpapers, LGPL-3 or CC BY-SA 4.0
"""


def photo(package: str, folder: Path, name: str) -> Path:
    """The file of a wallpaper; other sizes of it are links to this one. Raises DataError."""
    if package == MATE:
        found = [folder / f"{name}.jpg"]
    else:
        found = [file for file in sorted((folder / name).glob("contents/images/*")) if not file.is_symlink()]
    if len(found) != 1 or not found[0].is_file():
        raise DataError(f"{folder}: Debian's package {package} has no wallpaper {name}; take its name out of {__file__}")
    return found[0]


def bring(package: str, folder: Path) -> int:
    """Writes the photos of a package into the folder; returns their number. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, bar(package, len(PHOTOS[package])) as progress:
        place = packages.debian(package, FOLDERS[package], Path(scratch))
        for name in PHOTOS[package]:
            with Image.open(photo(package, place, name)) as picture:
                picture.convert("RGB").reduce(2).save(folder / f"{package.partition('-')[0]}-{name}.png")
            progress.update(1)
    return len(PHOTOS[package])


def main() -> None:
    """Brings the photos, unless they are there."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if (IMAGES / NOTICE).exists():
        print(f"{IMAGES}: the photos are there already; to bring them again, remove the folder")
        return
    with atomic_folder(IMAGES, NOTICE) as folder:
        counts = {package: bring(package, folder) for package in PHOTOS}
        (folder / NOTICE).write_text(LICENCES, encoding="utf-8")
    print(f"{IMAGES}: {sum(counts.values())} photos, from Debian's packages {' and '.join(counts)}")


if __name__ == "__main__":
    command_line.run(main)
