"""Photos, and pictures in whose styles they are redrawn: wallpapers of MATE, Plasma and GNOME from Debian's packages, small."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.progress import bar

MATE, PLASMA, GNOME = "mate-backgrounds", "plasma-workspace-wallpapers", "gnome-backgrounds"
FOLDERS = {MATE: "usr/share/backgrounds/mate", PLASMA: "usr/share/wallpapers", GNOME: "usr/share/backgrounds/gnome"}
SUFFIXES = ".jpg", ".png", ".webp"


class Pictures(NamedTuple):
    """Wallpapers by their packages, and their shorter side in pixels, which says how large patterns are."""

    side: int
    names: Mapping[str, Sequence[str]]

    @property
    def total(self) -> int:
        return sum(map(len, self.names.values()))


PHOTOS = Pictures(
    256,
    {
        MATE: (
            *("Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm", "TwoWings"),
            *("Wood", "YellowFlower"),
        ),
        PLASMA: (
            *("BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Grey", "Kite", "OneStandsOut", "Path"),
        ),
    },
)
LICENCES = """\
mate-*: Debian's mate-backgrounds, GPL-2+
plasma-*: Debian's plasma-workspace-wallpapers, LGPL-3 or CC BY-SA 4.0 by the wallpapers' own metadata, GPL-2+ by the package's
"""


def bring(folder: Path, kinds: Mapping[str, Pictures]) -> None:
    """Writes the wallpapers as PNG in color into a new folder of each kind. Raises DataError."""
    used = {package for pictures in kinds.values() for package in pictures.names}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        unpacked = {}
        for package in (one for one in FOLDERS if one in used):
            (place := Path(scratch, package)).mkdir()
            unpacked[package] = packages.debian(package, FOLDERS[package], place)
        for kind, pictures in kinds.items():
            (folder / kind).mkdir()
            names = [(package, name) for package, several in pictures.names.items() for name in several]
            with bar(kind, len(names)) as progress:
                for package, name in names:
                    file = wallpaper(package, unpacked[package], name)
                    small(file, pictures.side).save(folder / kind / f"{package.partition('-')[0]}-{name}.png")
                    progress.update(1)


def wallpaper(package: str, folder: Path, name: str) -> Path:
    """The file of a wallpaper in an unpacked package, the largest where there are several. Raises DataError."""
    places = [folder / name / "contents" / "images"] if package == PLASMA else [folder, folder / "abstract", folder / "nature"]
    of_name = (file for place in places for file in place.glob("*" if package == PLASMA else f"{name}.*"))
    files = [file for file in of_name if file.suffix in SUFFIXES and not file.is_symlink()]
    if not files:
        raise DataError(f"Debian's package {package} has no wallpaper {name} here; take it out of get_images.py or {__file__}")
    return max(files, key=lambda file: file.stat().st_size)


def small(file: Path, side: int) -> Image.Image:
    """A picture whose shorter side is `side` pixels, in color."""
    with Image.open(file) as picture:
        picture.draft("RGB", (4 * side, 4 * side))
        scale = side / min(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
