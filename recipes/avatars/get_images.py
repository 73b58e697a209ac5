"""Brings avatars into images/ of this folder: 2,400 pictures and the label map of each, 128 px on white.

The pixels of a map are of seven classes, each in its color: background, skin, hair (with the beard), brows, eyes, mouth and
clothes. Avatars are drawn by Node with npm's packages @dicebear/core (MIT) and @dicebear/toon-head (ToonHead by Johan Melin,
CC BY 4.0), which npm fetches without installing them. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import resvg_py

from atelier import command_line
from atelier.data import packages
from atelier.data.errors import DataError
from atelier.io.progress import bar

IMAGES = Path("images")
DRAW = Path(__file__).with_name("draw.mjs")
PACKAGES = {  # sha256 of the archives
    "core": "6ca7dae651c74ad547e548fbe7c41f49aaa377cf4617259277518389bf6b1a3d",
    "toon-head": "b9cd3b5def9fb2c37a9acba2e4b9bd00268b6eaff705d596756e8d921a4580c8",
}
VERSION = "9.4.3"
LICENCE = f"""\
ToonHead by Johan Melin, www.figma.com/community/file/1589627891082866389, CC BY 4.0 (creativecommons.org/licenses/by/4.0),
put together from its parts by npm's @dicebear/toon-head {VERSION}; the label maps are the same parts in other colors
"""
COUNT, SIDE = 2400, 128
CLASSES = {  # as params.yaml has them
    "background": "#ffffff",
    "skin": "#f2b48c",
    "hair": "#7a4a2b",
    "brows": "#1d1d1b",
    "eyes": "#2f6fde",
    "mouth": "#d6304a",
    "clothes": "#3aa655",
}
COMPONENTS = {  # class of each
    "rearHair": "hair",
    "body": "skin",
    "head": "skin",
    "clothes": "clothes",
    "mouth": "mouth",
    "beard": "hair",
    "eyes": "eyes",
    "eyebrows": "brows",
    "hair": "hair",
}


def avatars(folder: Path) -> Iterator[dict[str, str]]:
    """Picture and map of each avatar as SVG, drawn by Node with what is unpacked in the folder. Raises DataError."""
    colors = json.dumps({component: CLASSES[name] for component, name in COMPONENTS.items()})
    output = folder / "avatars.jsonl"
    with output.open("wb") as file:
        done = subprocess.run(
            ["node", str(DRAW), str(folder), str(COUNT), colors], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DataError(f"node {DRAW.name} failed ({' '.join(said)}); it needs Node.js 18 or newer, run it again with that")
    with output.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def bring(folder: Path) -> str:
    """Fills the folder with map/ and picture/; says so. Raises DataError."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, sha256 in PACKAGES.items():
            place = Path(scratch, "node_modules", "@dicebear", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            packages.npm(f"@dicebear/{name}@{VERSION}", sha256, Path(scratch)).rename(place)
        for kind in ("map", "picture"):
            (folder / kind).mkdir()
        with bar("draw", COUNT) as shown:
            for number, drawn in enumerate(avatars(Path(scratch))):
                for kind, svg in drawn.items():
                    png = resvg_py.svg_to_bytes(
                        svg_string=svg, width=SIDE, height=SIDE, background=CLASSES["background"], skip_system_fonts=True
                    )
                    (folder / kind / f"{number:04}.png").write_bytes(bytes(png))
                shown.update(1)
    return f"{IMAGES}: {COUNT} avatars with their label maps, from npm's @dicebear/toon-head {VERSION}"


def main() -> None:
    """Brings the avatars, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the avatars", bring, LICENCE)


if __name__ == "__main__":
    command_line.run(main)
