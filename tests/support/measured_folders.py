"""Two folders of images that differ, and their measurement by the library."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.image_files import open_images
from atelier.extractors.base import Extractor
from atelier.metrics.evaluator import Evaluation
from atelier.metrics.folders import measure_sets

LITE0 = ("efficientnet_lite0", "packaged")
CLASSES = ("dark", "light")
COUNT, REAL = 50, 60  # images


def draw(folder: Path, count: int, seed: int, side: int = 32) -> Path:
    """Smooth noise on two levels of brightness, a sub-folder for each; half of them grey."""
    random = np.random.default_rng(seed)
    for index in range(count):
        level, coarse = index % 2, random.integers(0, 128, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse + np.uint8(100 * level)).resize((side, side), Image.Resampling.BICUBIC)
        (folder / CLASSES[level]).mkdir(parents=True, exist_ok=True)
        (image.convert("L") if index % 4 > 1 else image).save(folder / CLASSES[level] / f"{index:03}.png")
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("generated") / "images", COUNT, seed=0)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("reference") / "images", REAL, seed=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def measure(
    generated: Path,
    reference: Path,
    cache: Path,
    *metrics: str,
    extractor: str = LITE0[0],
    weights: str = LITE0[1],
    **options: Any,
) -> Evaluation:
    """What is measured, frechet, kernel and prdc unless the metrics are named."""
    first, second = open_images(generated, progress=False), open_images(reference, progress=False)
    chosen = metrics or ("frechet", "kernel", "prdc")
    return measure_sets(first, second, chosen, extractor, weights, cache=cache, progress=False, **options)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the network has looked at, call by call."""
    counts: list[int] = []
    real = Extractor.features

    def counted(self: Extractor, images: np.ndarray) -> np.ndarray:
        counts.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Extractor, "features", counted)
    return counts
