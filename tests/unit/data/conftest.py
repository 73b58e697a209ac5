"""Images as files, for the tests of packing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def raw(tmp_path: Path, encode: Callable[..., bytes], pictures: Callable[..., list[np.ndarray]]) -> Path:
    """30 images in 3 classes as PNG."""
    for number, picture in enumerate(pictures(30)):
        path = tmp_path / "raw" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture))
    return tmp_path / "raw"
