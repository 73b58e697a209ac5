"""The component that makes a detector, on tiny data: what it leaves, that it repeats, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.config.detection import DetectSettings
from atelier.config.section import SettingsError
from atelier.config.settings import load
from atelier.data.packed import PackedDataset
from atelier.detection import model
from atelier.detection.changes import CHANGES
from atelier.detection.model import DetectorError
from atelier.detection.protocol import Pictures, Result, Unseen
from atelier.io.files import read_json
from atelier.metrics import acceptance
from atelier.models.model import parts_of
from components import detect as module
from components.detect import MEASURED, METRICS, PICTURE, REPORT, TABLES, detect
from components.register_detector import register_detector
from components.train_generators import train_generators
from tests.support.checkpoints import write_checkpoint
from tests.support.packing import quietly
from tests.support.small import PARAMS, TRAINING

SHORT = [f"train.{key}={json.dumps(value)}" for key, value in {**TRAINING, "on_alarm": "warn"}.items()]
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
    """Three untrained generators, two of them of one family, in a checkpoint that holds several; and one beside them."""
    folder = tmp_path_factory.mktemp("generators")
    families = {"small": "mlp", "smaller": "mlp", "deep": "mlp_deep"}
    for seed, (name, family) in enumerate(families.items()):
        write_checkpoint(folder / "several" / name, seed, [], family=family)
    return [folder / "several", write_checkpoint(folder / "alone", 3, [])]


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
    assert metrics == read_json(tmp_path / "first" / METRICS) and len(metrics) == 4 * len(CHANGES)
    assert metrics["auc.spectrum.plain"] > 0.99  # untrained generators make noise
    loaded = model.load(tmp_path / "first")
    assert (loaded.info.kind, loaded.info.resolution, loaded.info.channels) == ("spectrum", 28, 1)
    assert loaded.info.data["content_hash"] == PackedDataset(data).content_hash
    assert sorted(loaded.info.generators) == ["deep", "mlp", "small", "smaller"]
    assert loaded.info.measured["plain"]["auc"] == metrics["auc.spectrum.plain"]
    real = PackedDataset(data, "test")
    assert (loaded.scores(real.images(np.arange(len(real)))) > loaded.info.threshold).mean() < 0.5
    measured = read_json(tmp_path / "first" / MEASURED)
    assert measured["images"] == {"real": [64, 16], **{name: [55, 16] for name in loaded.info.generators}}  # 85 % of 64, of one
    assert acceptance.read(tmp_path / "first") == ""
    assert sorted(measured["frechet_efficientnet_lite0"]) == sorted(loaded.info.generators)
    table = (tmp_path / "first" / TABLES).read_text()
    assert table.count("\n| ") == 17 and f"{metrics['auc.spectrum.JPEG_75']:.3f}" in table
    assert Image.open(tmp_path / "first" / PICTURE).size == (24 * 58 - 2, 5 * 58 - 2)  # of 28 px and a gap, twice as large
    page = (tmp_path / "first" / REPORT).read_text()
    assert page.count("data:image/") == 10 and "Rejected" not in page and not re.search(r"(?:src|href)=.(?!data:)|<script", page)

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
    with pytest.raises(DetectorError, match=r"1 of one family \(mlp\), which leaves none to learn from"):
        made(data, generators[1:], tmp_path / "out")
    with pytest.raises(DetectorError, match=r"mlp \w{8} is given twice"):
        made(data, [*generators, generators[1]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_limits_reject_is_not_registered(data: Path, generators: list[Path], tmp_path: Path) -> None:
    made(data, generators, tmp_path / "out", max_false_positives=0.0)
    said = r"% of real images \(.+\) are above the threshold, and detect\.max_false_positives = 0"
    assert re.search(said, acceptance.read(tmp_path / "out"))
    assert "Rejected:" in (tmp_path / "out" / REPORT).read_text()
    with pytest.raises(DetectorError, match=f"rejected .*{said}.*so it is not registered"):
        register_detector("toy", "tests", tmp_path / "out", tmp_path / "registered")
    assert not (tmp_path / "registered").exists()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "^$"),
        ({"min_auc": 0.7, "min_auc_jpeg_75": 0.5, "max_false_positives": 0.25}, "^$"),
        ({"min_auc": 0.76}, r"^mean AUC on unseen generators \(plain\) is 0\.750, below detect\.min_auc = 0\.76$"),
        ({"min_auc_jpeg_75": 0.6}, r"\(JPEG 75\) is 0\.500, below detect\.min_auc_jpeg_75 = 0\.6$"),
        ({"max_false_positives": 0.2}, r"^25\.0% of real images \(half size\) are above .* detect\.max_false_positives = 0\.2$"),
    ],
)
def test_limits(limits: dict[str, float], said: str) -> None:
    """3 of 4 pairs are in order as they are, 2 of 4 after anything else; one real image of 4 is above it at half size."""
    real = {change: np.array([0.0, 2.0]) for change in CHANGES} | {"half size": np.array([0.0, 4.0])}
    made = {change: np.array([1.0, 1.0]) for change in CHANGES} | {"plain": np.array([1.0, 3.0])}
    sister = Unseen(3.5, {change: np.array([0.0, 2.0]) for change in CHANGES}, made)
    result = Result("a title", "spectrum", {"one": Unseen(3.5, real, made), "sister": sister})
    assert re.search(said, module._reason(result, SETTINGS.model_copy(update=limits)))


def test_generators_are_trained_as_section_detect_says(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    changes = {"small": [], "deep": ["model.architecture=mlp_deep", "train.seed=5"]}
    generators = "{" + ", ".join(f"{name}: {json.dumps(one)}" for name, one in changes.items()) + "}"
    own = "name: d, kept: residuals, seed: 0, images: 64, tested: 16, shown: 64, false_positives: 0.1"
    small = [
        "model.architecture=mlp",
        "model.latent_dim=4",
        "model.conditional=false",
        *SHORT,
        f"detect={{{own}, generators: {generators}}}",
    ]
    settings = load(PARAMS, [*small, f"detect={{{own}, generators: {generators}}}"])
    given = train_generators.settings(settings.named(), "")
    places: dict[str, Any] = {"states": tmp_path / "states", "cache": tmp_path / "cache"}
    done = train_generators(**given, data=[data], output=tmp_path / "out", **places, device="cpu")
    assert {name: info.model["architecture"] for name, info in done.items()} == {"small": "mlp", "deep": "mlp_deep"}
    assert [done[name].seed for name in changes] == [settings.train.seed, 5]
    assert [one.name for one in parts_of(tmp_path / "out")] == ["deep", "small"]
    with pytest.raises(SettingsError, match="names none"):
        train_generators(**given | {"generators": {}}, data=[data], output=tmp_path / "other", **places)
