"""The digits as what is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.data.packed import PackedDataset
from atelier.tasks.sampling import Sample

Measured = Callable[..., Any]


def cut(images: np.ndarray, size: int = 64, target: np.ndarray | None = None) -> Iterator[Sample]:
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield Sample(images[part], None if target is None else target[part])


@pytest.fixture(name="dataset")
def dataset_fixture(digits: Path) -> PackedDataset:
    return PackedDataset(digits)
