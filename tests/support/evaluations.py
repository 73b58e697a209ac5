"""The digits as what is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.data.packed import PackedDataset

Measured = Callable[..., Any]


def cut(images: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


@pytest.fixture(name="dataset")
def dataset_fixture(digits: Path) -> PackedDataset:
    return PackedDataset(digits)
