"""Photos to train on: wallpapers of MATE and Plasma from Debian's packages, at half their size and less.

Half the size at most, since what a camera and JPEG have smoothed is no detail that could be learnt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.progress import bar

MATE, PLASMA = "mate-backgrounds", "plasma-workspace-wallpapers"
FOLDERS = {MATE: "usr/share/backgrounds/mate/nature", PLASMA: "usr/share/wallpapers"}
OF_PLASMA = ("BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Grey", "Kite", "OneStandsOut", "Path")
LICENCES = """\
mate-*: Debian's mate-backgrounds, GPL-2+
plasma-*: Debian's plasma-workspace-wallpapers, LGPL-3 by the wallpapers' own metadata, GPL-2+ by the package's
"""


def bring(folder: Path, factors: Sequence[int] = (2,)) -> str:
    """Writes the photos as PNG files into a new folder; returns how many from where. Raises DataError.

    Each is there once for each of the factors that its sides are divided by, which ends its name where there are several.
    """
    folder.mkdir()
    counts = {package: _from(package, folder, factors) for package in FOLDERS}
    return f"{sum(counts.values())} photos, from Debian's packages {' and '.join(counts)}"


def _from(package: str, folder: Path, factors: Sequence[int]) -> int:
    """Writes the photos of a package into the folder; returns their number. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        found = _files(package, packages.debian(package, FOLDERS[package], Path(scratch)))
        with bar(package, len(found)) as progress:
            for name, file in found.items():
                with Image.open(file) as picture:
                    photo, stem = picture.convert("RGB"), f"{package.partition('-')[0]}-{name}"
                for factor in factors:
                    photo.reduce(factor).save(folder / f"{stem}{f'-{factor}' if len(factors) > 1 else ''}.png")
                progress.update(1)
    return len(found)


def _files(package: str, folder: Path) -> dict[str, Path]:
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
