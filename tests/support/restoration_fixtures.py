"""A small packed set of whole pictures of several sizes, which restoration learns from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atelier.config.data import DataSettings
from tests.support.packing import quietly
from tests.support.restoration_tasks import SIDE

PICTURES, HELD_OUT = 24, 0.25


def picture(number: int) -> np.ndarray:
    """Colored stripes across each other, uint8 [H, W, 3] with sides of 64 to 96 pixels."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(64, 97, 2)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(rng.uniform(0.1, 0.6) * x + rng.uniform(0.1, 0.6) * y + rng.uniform(0, 6)) for _ in range(3)]
    return (127.5 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


@pytest.fixture(scope="session")
def stripes(
    tmp_path_factory: pytest.TempPathFactory, data_settings: Callable[..., DataSettings], encode: Callable[..., bytes]
) -> Path:
    """The folder of the packed set."""
    raw, packed = tmp_path_factory.mktemp("stripes"), tmp_path_factory.mktemp("packed") / "stripes"
    for number in range(PICTURES):
        (raw / f"{number}.png").write_bytes(encode(picture(number)))
    settings = data_settings(
        source="folder", path=str(raw), channels=3, resolution=SIDE, fit="whole", margin=0, holdout=HELD_OUT, labels=False
    )
    quietly(settings, packed, workers=1)
    return packed
