"""The component that makes a detector, on tiny data: what it leaves, that it repeats, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.config.detection import DetectSettings
from atelier.config.settings import load
from atelier.data.packed import PackedDataset
from atelier.detection import model
from atelier.detection.changes import CHANGES
from atelier.detection.model import DetectorError
from atelier.detection.protocol import Pictures
from atelier.io.files import read_json
from components import detect as module
from components.detect import MEASURED, METRICS, REPORT, TABLES, detect
from tests.support.checkpoints import write_checkpoint
from tests.support.packing import quietly
from tests.support.small import PARAMS

SETTINGS = DetectSettings(
    name="toy", kept="spectrum", seed=3, images=64, tested=16, shown=128, false_positives=0.1
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 smooth gray images of 28 px, a fifth of them held out."""
    folder, random, packed = tmp_path_factory.mktemp("raw"), np.random.default_rng(0), tmp_path_factory.mktemp("sets") / "packed"
    for index in range(120):
        small = Image.fromarray(random.integers(0, 256, (5, 5), dtype=np.uint8))
        small.resize((28, 28), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    changed = {"source": "folder", "path": str(folder), "licence": "CC0", "labels": False, "holdout": 0.2}
    settings = load(PARAMS).data["base"].model_copy(update=changed)
    quietly(settings, packed, workers=1)
    return packed


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three untrained generators, each of other weights."""
    folder = tmp_path_factory.mktemp("generators")
    return [write_checkpoint(folder / str(seed), seed, []) for seed in range(3)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of EfficientNet-Lite0 take seconds: a column of another kind is in their place."""
    monkeypatch.setattr("atelier.detection.detectors.load_extractor", lambda *_: Columns())


class Columns:
    """Sums of columns as features."""

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2), dtype=np.float32)


def made(data: Path, generators: list[Path], output: Path, **changed: Any) -> dict[str, float]:
    return detect(SETTINGS.model_copy(update=changed), "tests", data, generators, output, device="cpu")


def test_it_leaves_a_detector_with_its_numbers(data: Path, generators: list[Path], tmp_path: Path) -> None:
    metrics = made(data, generators, tmp_path / "first")
    assert metrics == read_json(tmp_path / "first" / METRICS) and len(metrics) == 3 * len(CHANGES)
    assert metrics["auc.spectrum.plain"] > 0.99  # untrained generators make noise
    loaded = model.load(tmp_path / "first")
    assert (loaded.info.kind, loaded.info.resolution, loaded.info.channels) == ("spectrum", 28, 1)
    assert loaded.info.data["content_hash"] == PackedDataset(data).content_hash and len(loaded.info.generators) == 3
    assert loaded.info.measured["plain"]["auc"] == metrics["auc.spectrum.plain"]
    real = PackedDataset(data, "test")
    assert (loaded.scores(real.images(np.arange(len(real)))) > loaded.info.threshold).mean() < 0.5
    measured = read_json(tmp_path / "first" / MEASURED)
    assert measured["images"] == {"real": [64, 16], **{name: [27, 16] for name in loaded.info.generators}}  # 55 of 64, by two
    assert sorted(measured["frechet_efficientnet_lite0"]) == sorted(loaded.info.generators)
    table = (tmp_path / "first" / TABLES).read_text()
    assert table.count("\n| ") == 15 and f"{metrics['auc.spectrum.JPEG_75']:.3f}" in table
    page = (tmp_path / "first" / REPORT).read_text()
    assert page.count("data:image/") == 8 and not re.search(r"(?:src|href)=.(?!data:)|<script", page)

    made(data, generators, tmp_path / "again")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_real_images_to_learn_from_and_to_measure_with_are_of_their_splits(data: Path) -> None:
    train, held_out = PackedDataset(data, "train"), PackedDataset(data, "test")
    found: Pictures = module._real(train, held_out, SETTINGS)
    sets = [{image.tobytes() for image in one.images(np.arange(len(one)))} for one in (train, held_out)]
    assert (len(found.learnt), len(found.tested)) == (64, 16)
    for part, own in zip((found.learnt, found.tested), sets, strict=True):
        assert {image.tobytes() for image in part} <= own


def test_it_refuses_what_cannot_be_compared(data: Path, generators: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="one generator alone leaves none to learn from"):
        made(data, generators[:1], tmp_path / "out")
    with pytest.raises(DetectorError, match=r"mlp \w{8} is given twice"):
        made(data, [*generators, generators[0]], tmp_path / "out")
    assert not (tmp_path / "out").exists()
