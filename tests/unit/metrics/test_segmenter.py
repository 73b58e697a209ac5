"""The segmenter of real pictures: it reads shapes that it has not seen, and overlaps are counted as their definition says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.config import settings
from atelier.config.data import DataSettings
from atelier.config.metrics import Need
from atelier.config.registry import GateSettings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.metrics import segmenter as module
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.segmenter import IGNORED, Segmenter, counts, load_segmenter, overlap, segmenter, standard_error
from atelier.registry.gate import Contender, decide
from atelier.report import facts
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured
from tests.support.small import PARAMS

CLASSES = ["background", "disc", "square"]


class Scenes:
    """Pictures of a disc and a square in shades of their colors on a noisy ground, with their maps; the corner does not count."""

    channels, resolution = 3, 32
    map_classes: Sequence[str] = CLASSES

    def __init__(self, count: int, seed: int) -> None:
        self.content_hash = f"scenes {count} {seed}"
        random = np.random.default_rng(seed)
        side = np.arange(self.resolution)
        rows, columns = side[:, None], side[None, :]
        maps = np.zeros((count, self.resolution, self.resolution), np.uint8)
        for n in range(count):
            y, x, v, u = random.integers(8, 24, 4)
            maps[n][(rows - y) ** 2 + (columns - x) ** 2 < 36] = 1
            maps[n][(abs(rows - v) < 5) & (abs(columns - u) < 5)] = 2
        colors = np.array([[120, 120, 120], [200, 60, 60], [60, 60, 200]])
        shades = colors[maps] + random.normal(0, 20, (count, 1, 1, 3)) + random.normal(0, 12, (*maps.shape, 3))
        self.pictures = np.ascontiguousarray(shades.clip(0, 255).astype(np.uint8).transpose(0, 3, 1, 2))
        maps[:, :2, :2] = IGNORED
        self.maps = maps[:, None]

    def __len__(self) -> int:
        return len(self.maps)

    def pairs(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.pictures[indices], self.maps[indices]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Path]:
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IMAGES", 4000)
        return load_segmenter(Scenes(300, 0), cache, seed=0, progress=False), cache


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES", 0)


def test_it_reads_scenes_that_it_has_not_seen(fitted: tuple[Segmenter, Path]) -> None:
    network, new = fitted[0], Scenes(60, 1)
    found = network.read(Sample(new.pictures[::-1], new.pictures, new.maps))
    assert found.shape == (60, network.width) and found.dtype == np.float32
    elsewhere, real = overlap(found[:, :9], CLASSES), overlap(found[:, 9:], CLASSES)
    assert real.mean > 0.8 and real.background is not None and real.background > 0.95
    assert elsewhere.mean < 0.2  # the pictures of other maps
    gray = np.full_like(new.pictures, 120)
    assert overlap(network.read(Sample(gray, new.pictures, new.maps))[:, :9], CLASSES).mean < 0.1


def test_reading_depends_on_the_picture_only(fitted: tuple[Segmenter, Path]) -> None:
    network, new = fitted[0], Scenes(40, 2)
    whole = network.read(Sample(new.pictures, new.pictures, new.maps))
    cut = [network.read(Sample(new.pictures[part], new.pictures[part], new.maps[part])) for part in (slice(0, 3), slice(3, 40))]
    assert np.array_equal(np.concatenate(cut), whole)


def test_the_cache_gives_back_the_same_segmenter(fitted: tuple[Segmenter, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    network, cache = fitted
    monkeypatch.setattr(module, "_fit", lambda *args: pytest.fail("fitted again"))
    again = load_segmenter(Scenes(300, 0), cache, seed=0, progress=False)
    assert again.weights_hash == network.weights_hash and again.fitted == 300


def test_equal_inputs_give_equal_weights(short: None, tmp_path: Path) -> None:
    scenes, before = Scenes(70, 0), torch.get_rng_state()
    first = load_segmenter(scenes, tmp_path / "a", seed=0, progress=False).weights_hash
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert load_segmenter(scenes, tmp_path / "b", seed=0, progress=False).weights_hash == first
    assert load_segmenter(scenes, tmp_path / "a", seed=1, progress=False).weights_hash != first
    assert load_segmenter(Scenes(70, 3), tmp_path / "a", seed=0, progress=False).weights_hash != first


@pytest.mark.parametrize(("resolution", "channels"), [(28, 1), (33, 3), (64, 3), (100, 3), (256, 1)])
def test_every_shape_can_be_read(resolution: int, channels: int) -> None:
    network = segmenter(channels, resolution, 4, seed=0).eval()
    assert network(torch.zeros(2, channels, resolution, resolution)).shape == (2, 4, resolution, resolution)


def by_pixel(read: np.ndarray, maps: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Intersection over union of each class that the maps have, pixel by pixel."""
    found = {}
    for label, name in enumerate(classes):
        both = either = 0
        for a, b in zip(read.flat, maps.flat, strict=True):
            if b != IGNORED:
                both += a == label and b == label
                either += label in (a, b)
        if (maps == label).any():
            found[name] = both / either
    return found


class Fixed(torch.nn.Module):
    """Reads a class from the level of gray."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = (images * 127.5 + 127.5).round()
        return -(level - torch.arange(4.0)[None, :, None, None]).abs()


@pytest.mark.parametrize("classes", [["background", "a", "b", "missing"], ["a", "b", "c", "missing"]])
def test_overlap_is_counted_over_all_pixels_that_count(classes: list[str]) -> None:
    random = np.random.default_rng(0)
    maps = random.integers(0, 3, (7, 1, 8, 8)).astype(np.uint8)
    read = np.where(random.random(maps.shape) < 0.6, maps, random.integers(0, 4, maps.shape)).astype(np.uint8)
    maps[random.random(maps.shape) < 0.2] = IGNORED
    columns = counts(Fixed(), read, maps, 4)
    for n in range(7):
        known = maps[n] != IGNORED
        for label in range(4):
            expected = [
                ((read[n] == label) & (maps[n] == label)).sum(),
                ((read[n] == label) & known).sum(),
                (maps[n] == label).sum(),
            ]
            assert columns[n, 3 * label : 3 * label + 3].tolist() == expected
    each = by_pixel(read, maps, classes)
    assert "missing" not in each
    background = each.pop("background", None)
    found = overlap(columns, classes)
    assert found.mean == pytest.approx(np.mean(list(each.values())), rel=1e-12)
    assert found.background == (None if background is None else pytest.approx(background, rel=1e-12))


def test_equal_to_the_map_is_one() -> None:
    maps = np.random.default_rng(1).integers(0, 3, (4, 1, 8, 8)).astype(np.uint8)
    found = overlap(counts(Fixed(), maps, maps, 4), ["a", "b", "c", "d"])
    assert found.mean == 1 and standard_error(found.influence) == 0


def test_the_error_is_what_repeated_draws_show() -> None:
    random = np.random.default_rng(2)
    size = random.integers(5, 60, (500, 60, 3)).astype(np.float64)
    both = np.round(size * random.uniform(0.4, 0.9, size.shape))
    columns = np.stack([both, size, size], axis=3).reshape(500, 60, 9)
    found = [overlap(draw, ["a", "b", "c"]) for draw in columns]
    errors = [standard_error(one.influence) for one in found]
    assert 0.9 < np.mean(np.array(errors, dtype=float)) / np.std([one.mean for one in found]) < 1.1
    assert standard_error(found[0].influence[:1]) is None


def test_maps_of_background_alone_are_refused() -> None:
    maps = np.zeros((2, 1, 8, 8), np.uint8)
    with pytest.raises(MetricError, match="segmented finds no class in the label maps but background; take it out"):
        overlap(counts(Fixed(), maps, maps, 4), ["background", "a", "b", "c"])


# ---- as a metric


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes as files, packed with their maps; the corner is of no class."""
    scenes, root = Scenes(160, 7), tmp_path_factory.mktemp("scenes")
    marks = {"background": 0, "disc": 1, "square": 2}
    for field in ("maps", "photos"):
        (root / "raw" / field).mkdir(parents=True)
    for number, (picture, labels) in enumerate(zip(scenes.pictures, scenes.maps, strict=True)):
        Image.fromarray(picture.transpose(1, 2, 0)).save(root / "raw" / "photos" / f"{number}.png")
        Image.fromarray(labels[0]).save(root / "raw" / "maps" / f"{number}.png")
    base = settings.load(PARAMS).data["base"].model_dump()
    fields = {
        "input": {"from": "maps", "kind": "map", "classes": marks, "ignore": IGNORED},
        "target": {"from": "photos"},
    }
    changes = {"source": "folder", "path": str(root / "raw"), "channels": 3, "resolution": 32, "labels": False, "holdout": 0.25}
    pack(DataSettings.model_validate({**base, **changes, "fields": fields}), root / "packed", workers=1, progress=False)
    return root / "packed"


@pytest.fixture(scope="module")
def evaluator(packed: Path, measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    test = PackedDataset(packed, "test")
    chosen = measured(samples=len(test)).model_copy(update={"metrics": ["segmented"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IMAGES", 4000)
        return Evaluator(test, chosen, tmp_path_factory.mktemp("cache"), progress=False)


def evaluate(evaluator: Evaluator, make: Callable[[np.ndarray], np.ndarray]) -> Evaluation:
    records = evaluator.dataset.read(np.arange(len(evaluator.dataset)))
    sample = Sample(make(records["target"]), records["target"], records["input"])
    return evaluator([sample], having={Need.TARGET, Need.MAP})


def test_real_pictures_are_read_as_real_ones(evaluator: Evaluator, packed: Path) -> None:
    found = evaluate(evaluator, lambda target: target)
    assert list(found.flat) == ["miou", "miou_relative", "background_iou", "miou_real"]
    assert found["miou"].value == found["miou_real"].value > 0.8
    assert (found["miou_relative"].value, found["miou_relative"].standard_error) == (1, 0)
    train, one = PackedDataset(packed, "train"), found["miou"].identity
    assert one.extractor == f"segmenter of 3 classes, fitted on {len(train)} pairs" and len(one.weights) == 64
    assert (one.reference, one.reference_count) == (f"{train.content_hash}:test", len(evaluator.dataset))
    assert [row.name for row in facts.numbers(found)] == ["miou", "miou_relative", "background_iou"]
    assert [row.name for row in facts.numbers(found, "classifier")] == ["miou_real"]


def test_pictures_that_ignore_their_maps_are_found_out(evaluator: Evaluator) -> None:
    found = evaluate(evaluator, lambda target: np.roll(target, 1, axis=0))
    assert found["miou"].value < 0.2 and found["miou_relative"].value == found["miou"].value / found["miou_real"].value
    assert found["background_iou"].value > 0.5  # which says little


def test_the_gate_bounds_it(evaluator: Evaluator) -> None:
    found = {one.name: one for one in evaluate(evaluator, lambda target: np.roll(target, 1, axis=0)).measurements}
    gate = GateSettings.model_validate({"primary": "frechet", "min_delta": 0.0, "min_miou": 0.5})
    assert "below gate.min_miou = 50.00%" in decide(Contender(1, "1", found), None, gate).reason


def test_a_set_without_maps_is_refused(digits: Path, measured: Measured, tmp_path: Path) -> None:
    chosen = measured(samples=16).model_copy(update={"metrics": ["segmented"]})
    with pytest.raises(MetricError, match=r"segmented needs records with a picture and one label map, .* have 0; take"):
        Evaluator(PackedDataset(digits, "test"), chosen, tmp_path, progress=False)
