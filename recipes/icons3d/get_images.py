"""Brings emoji into images/ of this folder: Fluent Emoji as flat drawings, 128 px on white, and as 3D pictures, 256 px.

They are all but skin tones and the flags of countries, which are flat in both. Each is named by its code points, so that a
drawing has its picture under the same name. They come from npm's packages @lobehub/fluent-emoji-flat and @lobehub/fluent-emoji-3d
(Fluent Emoji by Microsoft, MIT), which npm fetches without installing them. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import resvg_py

from atelier import command_line
from atelier.data import packages
from atelier.io.progress import bar

IMAGES = Path("images")
PACKAGES = {  # sha256 of the archives
    "flat": "8f9113c027c7c20eced0070354715a4093a459b8bef6332b91d45f38c9bdb147",
    "3d": "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
}
VERSION = "1.1.0"
SIDE = 128  # of the flat ones
LICENCE = f"""\
Fluent Emoji, Copyright Microsoft Corporation, MIT License, from npm's @lobehub/fluent-emoji-flat and
@lobehub/fluent-emoji-3d {VERSION}
"""
VARIATION = "-fe0f"  # asks for color, and stands in some names of one package alone
WITHOUT = {f"{code:x}" for code in (*range(0x1F1E6, 0x1F200), *range(0x1F3FB, 0x1F400))}  # letters of flags; skin tones


def named(package: Path) -> dict[str, Path]:
    """The files of a package by their code points, without flags and skin tones."""
    found = {file.stem.replace(VARIATION, ""): file for file in sorted((package / "assets").iterdir())}
    return {name: file for name, file in found.items() if not WITHOUT & {*name.split("-")}}


def bring(folder: Path) -> str:
    """Fills the folder with flat/ and 3d/; says so. Raises DataError."""
    with tempfile.TemporaryDirectory() as scratch:
        files = {}
        for kind, sha256 in PACKAGES.items():
            (place := Path(scratch, kind)).mkdir()
            files[kind] = named(packages.npm(f"@lobehub/fluent-emoji-{kind}@{VERSION}", sha256, place))
            (folder / kind).mkdir()
        names = sorted(files["flat"].keys() & files["3d"].keys())
        with bar("draw", len(names)) as shown:
            for name in names:
                drawn = resvg_py.svg_to_bytes(
                    svg_path=str(files["flat"][name]), width=SIDE, height=SIDE, background="#ffffff", skip_system_fonts=True
                )
                (folder / "flat" / f"{name}.png").write_bytes(bytes(drawn))
                (folder / "3d" / f"{name}.webp").write_bytes(files["3d"][name].read_bytes())
                shown.update(1)
    return f"{IMAGES}: {len(names)} emoji, flat and in 3D, from npm's @lobehub/fluent-emoji-flat and -3d {VERSION}"


def main() -> None:
    """Brings the emoji, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the emoji", bring, LICENCE)


if __name__ == "__main__":
    command_line.run(main)
