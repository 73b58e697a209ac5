"""Brings photos into images/photos/ of this folder: wallpapers of MATE and Plasma at half their size, as PNG.

Half the size, since what a camera and JPEG have smoothed is no detail that could be learnt. They come from Debian's packages
mate-backgrounds and plasma-workspace-wallpapers, which apt-get fetches without installing them. Images that are there are left as
they are.

    python get_images.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.progress import bar

IMAGES, PHOTOS = Path("images"), "photos"
MATE, PLASMA = "mate-backgrounds", "plasma-workspace-wallpapers"
FOLDERS = {MATE: "usr/share/backgrounds/mate/nature", PLASMA: "usr/share/wallpapers"}
OF_PLASMA = ("BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Grey", "Kite", "OneStandsOut", "Path")
LICENCES = """\
mate-*: Debian's mate-backgrounds, GPL-2+
plasma-*: Debian's plasma-workspace-wallpapers, LGPL-3 by the wallpapers' own metadata, GPL-2+ by the package's
"""


def wallpapers(package: str, folder: Path) -> dict[str, Path]:
    """The files of a package's photos by name; other sizes of one are links to it. Raises DataError."""
    if package == MATE:
        found = {file.stem: file for file in sorted(folder.glob("*.jpg"))}
    else:
        sizes = ((name, file) for name in OF_PLASMA for file in (folder / name / "contents" / "images").glob("*.jpg"))
        found = {name: file for name, file in sizes if not file.is_symlink()}
    if missing := ["any"] * (not found) + [name for name in OF_PLASMA if package == PLASMA and name not in found]:
        raise DataError(
            f"Debian's package {package} has not {', '.join(missing)} of its photos here; take them out of {__file__}"
        )
    return found


def bring_from(package: str, folder: Path) -> int:
    """Writes the photos of a package into the folder; returns their number. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        found = wallpapers(package, packages.debian(package, FOLDERS[package], Path(scratch)))
        with bar(package, len(found)) as progress:
            for name, file in found.items():
                with Image.open(file) as picture:
                    picture.convert("RGB").reduce(2).save(folder / f"{package.partition('-')[0]}-{name}.png")
                progress.update(1)
    return len(found)


def bring(folder: Path) -> str:
    """Fills the folder's photos/; says so. Raises DataError."""
    (folder / PHOTOS).mkdir()
    counts = {package: bring_from(package, folder / PHOTOS) for package in FOLDERS}
    return f"{IMAGES / PHOTOS}: {sum(counts.values())} photos, from Debian's packages {' and '.join(counts)}"


def main() -> None:
    """Brings the photos, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the photos", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
