"""A packed set of drawn images of 28 px, for the game of real and generated ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from atelier.config.data import DataSettings
from tests.support.packing import quietly
from tests.support.repository_settings import settings
from tests.support.served_process import CLASSES


def packed(folder: Path) -> Path:
    """48 squares in gray of all CLASSES, a quarter of them held out."""
    rng = np.random.default_rng(0)
    for number in range(48):
        image = np.zeros((28, 28), np.uint8)
        x, y = rng.integers(0, 20, 2)
        image[y : y + 8, x : x + 8] = rng.integers(100, 256)
        path = folder / "raw" / CLASSES[number % len(CLASSES)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    source = {"source": "folder", "path": str(folder / "raw"), "holdout": 0.25, "licence": "CC0", "channels": 1, "resolution": 28}
    quietly(DataSettings.model_validate({**settings().data["base"].model_dump(), **source}), folder / "packed", workers=1)
    return folder / "packed"
