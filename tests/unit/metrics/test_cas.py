"""CAS and GAN-test: a classifier of generated images reads real ones, and one of real images reads generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.config.evaluation import EvaluateSettings
from atelier.config.metrics import deciding
from atelier.config.registry import GateSettings
from atelier.data.packed import PackedDataset
from atelier.metrics import classifier as module
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.learnt_from import Learnt
from atelier.metrics.metric import RealImages
from atelier.registry.gate import Contender, decide
from atelier.tasks.sampling import Sample

LEVELS = {"dark": 60, "middle": 120, "bright": 190}
COUNT = 60


def noise(level: int, count: int, seed: int, side: int = 32) -> np.ndarray:
    """uint8 [count, side, side, 3] around a level."""
    return np.random.default_rng(seed).normal(level, 15, (count, side, side, 3)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Fits see 1,280 images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IMAGES", 1280)
        yield


@pytest.fixture(scope="module")
def real(pack_images: Callable[..., PackedDataset]) -> PackedDataset:
    """30 images of each of three levels, a fifth held out."""
    levels = {name: list(noise(level, 30, level)) for name, level in LEVELS.items()}
    return pack_images(levels, resolution=32, holdout=0.2)


Measure = Callable[[np.ndarray, list[str]], Evaluation]


@pytest.fixture(scope="module")
def measure(real: PackedDataset, measured: Callable[..., EvaluateSettings], tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measures images uint8 [COUNT, 32, 32, 3] of these classes."""
    settings = measured(metrics=["cas", "gan_test"], samples=COUNT)
    evaluator = Evaluator(real, settings, tmp_path_factory.mktemp("cache"), progress=False)

    def evaluation(images: np.ndarray, names: list[str]) -> Evaluation:
        return evaluator([Sample(images.transpose(0, 3, 1, 2))], names)

    return evaluation


def generated(shown: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """As many images of each class, at the level of the class that `shown` says for it."""
    each = COUNT // len(shown)
    images = np.concatenate([noise(LEVELS[level], each, 7 + n) for n, level in enumerate(shown.values())])
    order = np.random.default_rng(0).permutation(COUNT)
    return images[order], np.repeat(list(shown), each)[order].tolist()


def test_images_as_good_as_real_ones_lose_nothing(measure: Measure, real: PackedDataset) -> None:
    found = measure(*generated({name: name for name in LEVELS}))
    held_out = len(PackedDataset(real.folder, "test"))
    assert found["cas"].value == found["cas_real"].value == found["cas_relative"].value == 1
    assert found["cas_lost"].value == 0 and found["cas_lost"].standard_error == 0
    assert found["gan_test"].value == found["gan_test_real"].value == 1
    assert found["cas"].identity.reference_count == held_out > 10
    assert f"fitted on {COUNT} images of 32 px" in found["cas"].identity.parameters


def test_images_of_another_class_are_what_their_classifier_reads(measure: Measure, real: PackedDataset) -> None:
    found = measure(*generated({"dark": "dark", "middle": "bright", "bright": "middle"}))
    test = PackedDataset(real.folder, "test")
    dark = (test.labels == real.classes.index("dark")).mean()
    assert found["cas"].value == pytest.approx(dark)
    assert found["cas_lost"].value == pytest.approx(1 - dark)
    error = np.sqrt(dark * (1 - dark) / len(test))
    assert found["cas"].standard_error == pytest.approx(error) == found["cas_lost"].standard_error
    assert found["gan_test"].value == pytest.approx(1 / 3)
    assert not found["cas_lost"].higher_is_better and found["cas"].higher_is_better


def test_what_real_images_teach_is_read_once_for_all_generators(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(*generated({name: name for name in LEVELS}))
    monkeypatch.setattr(Learnt, "_of_real", lambda *_: pytest.fail("again"))
    assert measure(*generated({"dark": "dark", "middle": "bright", "bright": "middle"}))["cas_real"] == first["cas_real"]


def test_a_class_that_is_never_generated_is_an_error(measure: Measure) -> None:
    with pytest.raises(MetricError, match="cas needs images of all classes, and none of middle is among 60; raise"):
        measure(*generated({"dark": "dark", "bright": "bright"}))


def test_the_gate_decides_by_what_is_lost_and_bounds_the_accuracy(measure: Measure) -> None:
    good = measure(*generated({name: name for name in LEVELS}))
    bad = measure(*generated({"dark": "dark", "middle": "bright", "bright": "middle"}))
    assert deciding()["cas_lost"] == "cas"
    settings = GateSettings.model_validate({"primary": "cas_lost", "min_delta": 0.0, "min_cas": 0.9, "min_gan_test": 0.9})
    first, second = (Contender(n, str(n), {m.name: m for m in one.measurements}) for n, one in enumerate((bad, good)))
    assert decide(second, first, settings).outcome == "promoted"
    refused = decide(first, second, settings)
    assert refused.outcome == "refused"
    assert {check.name for check in refused.checks if not check.passed} >= {"cas", "gan_test"}


@pytest.mark.parametrize(("side", "shown"), [(32, 32), (128, 32)])
def test_large_images_are_averaged_in_blocks(
    side: int, shown: int, pack_images: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    images: dict[str, Any] = {name: list(noise(level, 2, level, side)) for name, level in LEVELS.items()}
    packed = pack_images(images, resolution=side)
    learnt = Learnt(RealImages(packed, tmp_path, 0, False))
    pixels = packed.images(np.arange(4))
    blocks = pixels.reshape(4, 3, shown, side // shown, shown, side // shown).mean(axis=(3, 5), dtype=np.float64)
    assert np.array_equal(learnt.read(Sample(pixels)), np.rint(blocks).reshape(4, -1))
    assert learnt.width == 3 * shown**2


def test_labels_are_needed(real: PackedDataset, tmp_path: Path) -> None:
    unlabelled = PackedDataset(real.folder)
    unlabelled.classes = []
    with pytest.raises(MetricError, match="cas needs images of at least two labelled classes"):
        Learnt(RealImages(unlabelled, tmp_path, 0, False))
