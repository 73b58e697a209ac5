"""Brings pictures of people into images/ of this folder: 744 emoji of Google and as many of Twitter, 64 px, transparent.

They are heads and upper bodies, in all skin tones and hair styles, each named by its code points. They come from npm's packages
emoji-datasource-google (Noto Emoji, Apache-2.0) and emoji-datasource-twitter (Twemoji, CC BY 4.0), which npm fetches without
installing them. Images that are there are left as they are.

    python get_images.py
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
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
CATEGORY, SUBCATEGORIES = "People & Body", {"person", "person-role", "person-gesture"}
# Words in the names of who stands there in whole or turns away, or whose face is hidden or beside a tool that takes more room.
WITHOUT = {"pregnant", "feeding", "deaf", "palm", "facepalming", "ninja", "guard", "guardsman", "detective", "sleuth"}
WITHOUT |= {"artist", "factory", "scientist", "singer", "teacher", "technologist"}
# Words in the names of those of other subcategories who are drawn as these are.
WITH = {"angel", "claus", "elf", "haircut", "mage", "massage", "santa", "steamy", "vampire"}


def people(emoji: list[dict[str, Any]]) -> Iterator[str]:
    """File names of the chosen pictures, of the list that the packages hold: each emoji, then its skin tones."""
    for one in emoji:
        words = set(re.findall("[a-z]+", one["short_name"]))
        listed = one["subcategory"] in SUBCATEGORIES and not words & WITHOUT
        if one["category"] == CATEGORY and (listed or words & WITH):
            yield one["image"]
            yield from (tone["image"] for tone in one.get("skin_variations", {}).values())


def bring_from(vendor: str, folder: Path) -> int:
    """Fills the folder with one vendor's pictures; returns their number. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        package = packages.npm(f"emoji-datasource-{vendor}@{VERSION}", PACKAGES[vendor], Path(scratch))
        names = list(people(json.loads((package / "emoji.json").read_text(encoding="utf-8"))))
        folder.mkdir()
        for name in names:
            (package / "img" / vendor / "64" / name).rename(folder / name)
    return len(names)


def bring(folder: Path) -> str:
    """Fills the folder with google/ and twitter/; says so. Raises DataError."""
    counts = {vendor: bring_from(vendor, folder / vendor) for vendor in PACKAGES}
    lines = (
        f"{IMAGES / vendor}: {n} pictures of people, from npm's emoji-datasource-{vendor} {VERSION}"
        for vendor, n in counts.items()
    )
    return "\n".join(lines)


def main() -> None:
    """Brings the pictures, unless they are there."""
    packages.get_images(__doc__, IMAGES, "the people", bring, LICENCES)


if __name__ == "__main__":
    command_line.run(main)
