"""Fetches and packs the sets of benchmarks that are no part of the repository: Fashion-MNIST, emoji in color, MedNIST, of 32 px.

Fashion-MNIST (70,000 gray images of ten kinds of clothes, MIT) is Debian's package dataset-fashion-mnist, which apt-get fetches
and dpkg-deb unpacks without installing it; elsewhere put its four IDX files into data/raw/fashion-mnist. The emoji (3,786 of ten
categories, Noto Emoji by Google, Apache-2.0) are npm's package emoji-datasource-google. MedNIST (six kinds of X-ray, CT and MRI
images of 64 px, CC BY-SA 4.0) has no registry: put a zip of it, a folder for each kind, at data/raw/mednist.zip, or it is left
out. A set that is there is left as it is.

    .venv/bin/python -m benchmarks.sets
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atelier.config.settings import load
from atelier.data import packages
from atelier.data.manifest import NAME
from atelier.data.pack import pack
from components import cli

IDX = "usr/share/datasets/fashion-mnist"  # of Debian's package
BY_HAND = Path("data/raw/fashion-mnist")
MEDICAL = Path("data/raw/mednist.zip")
EMOJI = "emoji-datasource-google@16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"


def fashion(scratch: Path) -> dict[str, Any]:
    """Section `data` for Fashion-MNIST."""
    found = BY_HAND if BY_HAND.is_dir() else packages.debian("dataset-fashion-mnist", IDX, scratch)
    return {"source": "idx", "path": str(found), "licence": "MIT", "channels": 1}


def emoji(scratch: Path) -> dict[str, Any]:
    """Section `data` for the emoji, which are laid out in folders by category."""
    package, folders = packages.npm(*EMOJI, scratch), scratch / "emoji"
    pictures = package / "img/google/64"
    for one in json.loads((package / "emoji.json").read_text(encoding="utf-8")):
        category = "-".join(re.findall("[a-z]+", one["category"].lower()))
        (folders / category).mkdir(parents=True, exist_ok=True)
        for drawn in (one, *one.get("skin_variations", {}).values()):
            (pictures / drawn["image"]).rename(folders / category / drawn["image"])
    return {"source": "folder", "path": str(folders), "licence": "Apache-2.0", "channels": 3, "background": "#FFFFFF"}


def medical(scratch: Path) -> dict[str, Any]:
    """Section `data` for MedNIST."""
    return {"source": "zip", "path": str(MEDICAL), "licence": "CC BY-SA 4.0", "channels": 1}


SETS: dict[Path, Callable[[Path], dict[str, Any]]] = {Path("data/fashion"): fashion, Path("data/emoji"): emoji}
if MEDICAL.is_file():
    SETS[Path("data/medical")] = medical


def main() -> None:
    """Packs what is missing."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for output, fetched in SETS.items():
        if (output / NAME).exists():
            continue
        with tempfile.TemporaryDirectory() as scratch:
            chosen = fetched(Path(scratch)) | {"resolution": 32}
            values = {f"data.base.{key}": value for key, value in chosen.items()}
            values |= {"data.target.resolution": 32, "data.target.channels": chosen["channels"]}
            settings = load("params.yaml", [f"{key}={json.dumps(value)}" for key, value in values.items()])
            manifest = pack(settings.data["base"], output)
        print(f"{output}: {manifest.count} images of {manifest.resolution} px, {len(manifest.classes)} classes")


if __name__ == "__main__":
    cli.run(main)
