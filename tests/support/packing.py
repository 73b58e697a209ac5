"""Sets that are packed without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from atelier.config.data import DataSettings
from atelier.data.manifest import Manifest
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset

Make = Callable[..., DataSettings]


def quietly(settings: DataSettings, output: Path, **options: Any) -> Manifest:
    return pack(settings, output, progress=False, **options)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def images(folder: Path, split: str) -> set[bytes]:
    packed = PackedDataset(folder, split)
    return {image.tobytes() for image in packed.images(np.arange(len(packed)))}
