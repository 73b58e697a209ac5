"""Brings drawings into images/ of this folder: OpenMoji as black lines and in color, of equal geometry, 128 px on white.

They are all but flags, extras without a code point and further skin tones, each named by its code points. They come from npm's
package openmoji (CC BY-SA 4.0), which npm fetches without installing it, as SVG. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import resvg_py

from atelier import command_line
from atelier.data import packages
from atelier.io.progress import bar

IMAGES = Path("images")
PACKAGE, VERSION = "openmoji", "17.0.0"
SHA256 = "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68"  # of the archive
SIDE = 128
LICENCE = f"OpenMoji {VERSION}, the open-source emoji and icon project (openmoji.org), CC BY-SA 4.0, from npm's {PACKAGE}\n"
WITHOUT = {"flags", "extras-openmoji", "extras-unicode"}  # groups: all flags are one rectangle in lines


def chosen(drawings: list[dict[str, Any]]) -> list[str]:
    """Names of the drawings, of the list that the package holds."""
    return [one["hexcode"] for one in drawings if one["group"] not in WITHOUT and not one["skintone"]]


def bring(folder: Path) -> str:
    """Fills the folder with line/ and color/; says so. Raises DataError."""
    with tempfile.TemporaryDirectory() as scratch:
        package = packages.npm(f"{PACKAGE}@{VERSION}", SHA256, Path(scratch))
        names = chosen(json.loads((package / "data" / "openmoji.json").read_text(encoding="utf-8")))
        with bar("draw", 2 * len(names)) as shown:
            for kind, target in (("black", "line"), ("color", "color")):
                (folder / target).mkdir()
                for name in names:
                    drawn = resvg_py.svg_to_bytes(
                        svg_path=str(package / kind / "svg" / f"{name}.svg"), width=SIDE, height=SIDE, background="#ffffff"
                    )
                    (folder / target / f"{name}.png").write_bytes(bytes(drawn))
                    shown.update(1)
    return f"{IMAGES}: {len(names)} drawings as lines and in color, from npm's {PACKAGE} {VERSION}"


def main() -> None:
    """Brings the drawings, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the drawings", bring, LICENCE)


if __name__ == "__main__":
    command_line.run(main)
