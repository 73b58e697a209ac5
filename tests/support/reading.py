"""What the tests of the sources share: reading one as packing does, and its refusals."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.process import Recipe
from atelier.data.sources import open_source
from atelier.data.sources.base import Item, Source
from atelier.io.storage import StorageError

Make = Callable[..., DataSettings]
Encode = Callable[..., bytes]
Pictures = Callable[..., list[np.ndarray]]
RECIPE = Recipe(28, 1, "crop", 0, "box", "#000000", 8, 10_000)


def read(settings: DataSettings, images: int = 3) -> list[Item]:
    source = open_source(settings, RECIPE)
    items = read_share(source, range(source.count), images)
    assert len(items) == source.count
    return items


def read_share(source: Source, share: range, images: int = 3) -> list[Item]:
    worker = pickle.loads(pickle.dumps(source))  # noqa: S301 (what a pool does with it)
    chunks = (pickle.loads(pickle.dumps(chunk)) for chunk in source.chunks(images, share))  # noqa: S301
    return [item for chunk in chunks for item in worker.items(chunk)]


def refused(settings: DataSettings, *parts: str) -> None:
    with pytest.raises((DataError, StorageError)) as caught:
        read(settings)
    message = str(caught.value)
    assert all(part in message for part in parts) and "\n" not in message, message


def array(item: Item) -> np.ndarray:
    assert isinstance(item.content, Image.Image)
    return np.asarray(item.content)


def write_idx(path: Path, values: np.ndarray) -> None:
    content = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
