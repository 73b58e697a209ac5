"""Photos, and a watermark's secret that the environment names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from atelier.provenance.watermark.key import WATERMARK, Secret, configured

SECRET = Secret(bytes(range(32)), ("digits",), "full")


def photos(count: int, side: int = 64) -> list[Image.Image]:
    """Square parts of two photos in color, each at another place, reduced to `side` pixels."""
    drawn = np.random.default_rng(0)
    found = []
    for number in range(count):
        whole = Image.fromarray(load_sample_image(("china.jpg", "flower.jpg")[number % 2]))
        left, top = int(drawn.integers(0, whole.width - 320)), int(drawn.integers(0, whole.height - 320))
        found.append(whole.crop((left, top, left + 320, top + 320)).resize((side, side), Image.Resampling.LANCZOS))
    return found


def use_secret(folder: Path, patch: Any, **changed: Any) -> Secret:
    """SECRET in a file of `folder`, with what is `changed`, which the environment names from now on."""
    content = {"secret": SECRET.secret.hex(), "names": list(SECRET.names), "strength": SECRET.strength} | changed
    path = folder / "watermark.json"
    path.write_text(json.dumps(content))
    patch.setenv(WATERMARK, str(path))
    found = configured()
    assert found
    return found
