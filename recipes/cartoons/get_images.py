"""Brings emoji into images/ of this folder: those that Google and Twitter both have drawn, 64 px, transparent.

They are all but flags, signs and further skin tones, each named by its code points, so that a picture of one vendor has its
counterpart under the same name. They come from npm's packages emoji-datasource-google (Noto Emoji, Apache-2.0) and
emoji-datasource-twitter (Twemoji, CC BY 4.0), which npm fetches without installing them. Images that are there are left as they
are.

    python get_images.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from atelier import command_line
from atelier.data import packages

IMAGES = Path("images")
PACKAGES = {  # sha256 of the archives
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
VERSION = "16.0.0"
LICENCES = f"""\
google/: Noto Emoji, Copyright Google LLC, Apache License 2.0, from npm's emoji-datasource-google {VERSION}
twitter/: Twemoji, Copyright Twitter, Inc and other contributors, CC BY 4.0, from npm's emoji-datasource-twitter {VERSION}
"""
WITHOUT = {"Flags", "Symbols", "Component"}  # categories: rectangles, letters and signs look alike everywhere


def chosen(emoji: list[dict[str, Any]]) -> set[str]:
    """File names of the pictures that both vendors have, of the list that the packages hold."""
    shared = (one for one in emoji if one["has_img_google"] and one["has_img_twitter"])
    return {one["image"] for one in shared if one["category"] not in WITHOUT}


def bring_from(vendor: str, folder: Path) -> int:
    """Fills the folder with one vendor's pictures; returns their number. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        package = packages.npm(f"emoji-datasource-{vendor}@{VERSION}", PACKAGES[vendor], Path(scratch))
        names = chosen(json.loads((package / "emoji.json").read_text(encoding="utf-8")))
        folder.mkdir()
        for name in sorted(names):
            (package / "img" / vendor / "64" / name).rename(folder / name)
    return len(names)


def bring(folder: Path) -> str:
    """Fills the folder with google/ and twitter/; says so. Raises DataError."""
    counts = {vendor: bring_from(vendor, folder / vendor) for vendor in PACKAGES}
    lines = (f"{IMAGES / vendor}: {n} emoji, from npm's emoji-datasource-{vendor} {VERSION}" for vendor, n in counts.items())
    return "\n".join(lines)


def main() -> None:
    """Brings the pictures, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the emoji", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
