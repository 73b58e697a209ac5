"""Small packed sets that translation learns from: drawings on white of two kinds; outlines or label maps, each with a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atelier.config.data import DataSettings
from atelier.data.packed import PackedDataset
from tests.support.packing import quietly
from tests.support.translation_tasks import CLASSES, MAPPED

SIDE, COUNT, HELD_OUT = 32, 96, 0.25
COLORS = dict(zip(CLASSES, ["#ff0000", "#ffffff", "#000000"], strict=True))  # disc, ground, rim
TARGET = {"from": "colour"}
FIELDS = {
    "pairs": {"input": {"from": "lines", "channels": 1}, "target": TARGET},
    "labels": {"input": {"from": "map", "kind": "map", "classes": COLORS}, "target": TARGET},
}
SETS = ("a", "b", *FIELDS)


def drawing(number: int, square: bool) -> tuple[np.ndarray, np.ndarray]:
    """A colored disc or square on white, uint8 [32, 32, 3], and its outline on white, uint8 [32, 32]."""
    rng = np.random.default_rng([number, square])
    y, x = np.mgrid[:SIDE, :SIDE] - rng.integers(11, 21, 2)[:, None, None]
    reach = np.maximum(abs(x), abs(y)) if square else np.hypot(x, y)
    radius = rng.integers(6, 11)
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    picture[reach <= radius] = rng.integers(0, 200, 3)
    return picture, np.where(abs(reach - radius) < 1, 0, 255).astype(np.uint8)


def label_map(picture: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Its classes in their colors: the disc, what is around it and, half a pixel wide to each side, its rim."""
    colored = np.where((picture < 255).any(axis=2, keepdims=True), (255, 0, 0), (255, 255, 255))
    return np.where(outline[..., None] == 0, 0, colored).astype(np.uint8)


@pytest.fixture(scope="session")
def drawings(
    tmp_path_factory: pytest.TempPathFactory, data_settings: Callable[..., DataSettings], encode: Callable[..., bytes]
) -> dict[str, Path]:
    """Folders of packed sets: a (discs), b (squares), pairs (outline to disc) and labels (label map to disc)."""
    raw, packed = tmp_path_factory.mktemp("drawings"), tmp_path_factory.mktemp("packed")
    for number in range(COUNT):
        disc, outline = drawing(number, square=False)
        for place, picture in (
            ("pairs/colour", disc),
            ("pairs/lines", outline),
            ("labels/colour", disc),
            ("labels/map", label_map(disc, outline)),
            ("a", disc),
            ("b", drawing(number, square=True)[0]),
        ):
            (raw / place).mkdir(parents=True, exist_ok=True)
            (raw / place / f"{number}.png").write_bytes(encode(picture))
    for name in SETS:
        settings = data_settings(
            source="folder", path=str(raw / name), channels=3, resolution=SIDE, holdout=HELD_OUT, labels=False,
            fields=FIELDS.get(name, {}),
        )  # fmt: skip
        quietly(settings, packed / name, workers=1)
    return {name: packed / name for name in SETS}


def learnt_from(name: str, drawings: dict[str, Path]) -> dict[str, PackedDataset]:
    """The sets of a task of OF_TASKS."""
    if name == "pix2pix" or name in MAPPED:
        return {"data": PackedDataset(drawings["pairs" if name == "pix2pix" else "labels"])}
    return {of: PackedDataset(drawings[of]) for of in "ab"}


def places(name: str, drawings: dict[str, Path]) -> Path:
    """The same as the driver takes them."""
    return Path(",".join(str(one.folder) for one in learnt_from(name, drawings).values()))
