"""Distances of translations: beside their start, their inputs, and their floor, images trained on; and how content changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.config.metrics import Need
from atelier.data.packed import PackedDataset
from atelier.extractors.base import Extractor
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.frechet import Moments, frechet_estimate
from atelier.metrics.identity import MetricError
from atelier.metrics.kernel import kernel_distance, kernel_standard_error
from atelier.metrics.pairs import cosine_distance
from atelier.metrics.reference import reference_indices
from atelier.networks.base import Generator, LatentGenerator
from atelier.networks.layers import ImageShape
from atelier.report import facts
from atelier.tasks.sampling import Sample, Sampler
from tests.support.evaluations import Measured

COUNT, SEED = 100, 5
NAMES = ["frechet", "kernel", "content"]


def samples(images: np.ndarray, given: np.ndarray) -> Iterator[Sample]:
    for start in range(0, COUNT, 30):
        part = slice(start, min(start + 30, COUNT))
        yield Sample(images[part], None, given[part])


@pytest.fixture
def given(held_out: np.ndarray) -> np.ndarray:
    """Held-out digits upside down, in negative: the pictures that are translated."""
    return 255 - held_out[:COUNT, :, ::-1]


@pytest.fixture
def images(held_out: np.ndarray) -> np.ndarray:
    """What they were translated to: near the digits, a little dark."""
    return np.maximum(held_out[:COUNT], 30) - 30


def evaluator(digits: Path, measured: Measured, cache: Path, split: str = "test", keep: bool = True, **changes: Any) -> Evaluator:
    settings = measured(samples=COUNT, seed=SEED).model_copy(update={"metrics": NAMES, **changes})
    return Evaluator(PackedDataset(digits, split), settings, cache, keep=keep, progress=False)


@pytest.fixture
def found(means: Any, digits: Path, measured: Measured, tmp_path: Path, images: np.ndarray, given: np.ndarray) -> Evaluation:
    return evaluator(digits, measured, tmp_path)(samples(images, given), having={Need.PICTURE})


def features(means: Any, images: np.ndarray) -> np.ndarray:
    return Extractor("means", means(), lambda images: images.float() / 255, 16, "", "", (28, 28), 16).features(images)


def test_values_are_those_of_the_functions(
    found: Evaluation, means: Any, digits: Path, images: np.ndarray, given: np.ndarray, held_out: np.ndarray
) -> None:
    assert [one.name for one in found.measurements] == [
        "frechet_means", "input_frechet_means", "floor_frechet_means",
        "kernel_means", "input_kernel_means", "floor_kernel_means",
        "content_means", "unrelated_content_means",
    ]  # fmt: skip
    train = PackedDataset(digits, "train")
    drawn = reference_indices(len(train), SEED, cap=COUNT)
    own, start, floor, real = (features(means, one) for one in (images, given, train.images(drawn), held_out))
    for name, side in (("", own), ("input_", start), ("floor_", floor)):
        one = found[f"{name}frechet_means"]
        value, error = frechet_estimate(side, Moments.of(side), Moments.of(real))
        assert (one.value, one.standard_error) == (pytest.approx(value, rel=1e-9), pytest.approx(error, rel=1e-9))
        one = found[f"{name}kernel_means"]
        assert one.value == pytest.approx(kernel_distance(side, real, seed=SEED)[0], rel=1e-9)
        assert one.standard_error == pytest.approx(kernel_standard_error(side, real, SEED), rel=1e-9)
    each = cosine_distance(own, start)
    content = found["content_means"]
    assert content.value == pytest.approx(each.mean(), rel=1e-9)
    assert content.standard_error == pytest.approx(each.std(ddof=1) / COUNT**0.5, rel=1e-9)
    apart = [cosine_distance(own[n : n + 1], start[n - 1 : n] if n else start[-1:])[0] for n in range(COUNT)]
    assert found["unrelated_content_means"].value == pytest.approx(np.mean(apart), rel=1e-9)
    assert found["floor_frechet_means"].value < found["frechet_means"].value < found["input_frechet_means"].value


def test_identities_say_which_images_were_measured(found: Evaluation, digits: Path) -> None:
    data = PackedDataset(digits, "test")
    start, floor = found["input_frechet_means"], found["floor_frechet_means"]
    assert (start.kind, floor.kind) == ("input_frechet", "floor_frechet")
    assert floor.identity.sampling == f"real images: {data.content_hash}:train, drawn with the seed"
    for one in (start, floor):
        assert (one.identity.samples, one.identity.reference) == (COUNT, f"{data.content_hash}:test")
        assert one.identity.extractor == "means, 16 features"
    assert found["content_means"].identity.reference_count == 0
    assert facts.metric_title(start) == "Untranslated input: Fréchet distance in means"
    assert [one.name for one in facts.numbers(found)] == ["frechet_means", "kernel_means", "content_means"]


def test_a_translation_that_copies_its_input_starts_and_stays_there(
    means: Any, digits: Path, measured: Measured, tmp_path: Path, given: np.ndarray
) -> None:
    found = evaluator(digits, measured, tmp_path)(samples(given, given), having={Need.PICTURE})
    assert found["frechet_means"].value == found["input_frechet_means"].value
    assert found["content_means"].value == 0 and found["content_means"].standard_error == 0
    assert found["unrelated_content_means"].value > 0


def test_values_do_not_depend_on_batches_nor_on_what_stands_beside(
    found: Evaluation, means: Any, digits: Path, measured: Measured, tmp_path: Path, images: np.ndarray, given: np.ndarray
) -> None:
    whole = evaluator(digits, measured, tmp_path)([Sample(images, None, given)], having={Need.PICTURE})
    assert whole.flat == found.flat
    bare = evaluator(digits, measured, tmp_path, keep=False, metrics=NAMES[:2])(samples(images, given), having={Need.PICTURE})
    assert [one.name for one in bare.measurements] == ["frechet_means", "kernel_means"]
    assert bare.flat.items() < found.flat.items()


def test_inputs_are_looked_at_only_where_something_is_made_of_them(
    means: Any, digits: Path, measured: Measured, tmp_path: Path, images: np.ndarray, given: np.ndarray
) -> None:
    one = evaluator(digits, measured, tmp_path, keep=False, metrics=["frechet"])
    before = means.passes
    one(samples(images, given), having={Need.PICTURE})
    assert means.passes - before == 7  # batches of 30, 30, 30 and 10, in passes of 16


def test_without_pictures_there_is_a_floor_and_no_start(
    means: Any, digits: Path, measured: Measured, tmp_path: Path, images: np.ndarray
) -> None:
    one = evaluator(digits, measured, tmp_path, metrics=["frechet"])
    assert list(one([Sample(images)]).flat) == ["frechet_means", "floor_frechet_means"]
    maps = np.zeros((COUNT, 1, 28, 28), np.uint8)
    assert list(one([Sample(images, None, maps)], having={Need.MAP}).flat) == ["frechet_means", "floor_frechet_means"]
    trained = evaluator(digits, measured, tmp_path, split="train", metrics=["frechet"])
    assert list(trained([Sample(images)]).flat) == ["frechet_means"]
    with pytest.raises(MetricError, match="content needs the picture that each generated image was made from, of its size"):
        evaluator(digits, measured, tmp_path)([Sample(images)])


def test_label_maps_are_not_compared_with_targets(
    digits: Path, measured: Measured, tmp_path: Path, images: np.ndarray, held_out: np.ndarray
) -> None:
    one = evaluator(digits, measured, tmp_path, metrics=["l1"])
    maps = np.zeros((COUNT, 1, 28, 28), np.uint8)
    found = one([Sample(images, held_out[:COUNT], maps)], having={Need.TARGET, Need.MAP})
    assert list(found.flat) == ["l1"]


class Mirror(LatentGenerator):
    """Is asked nothing: the sampler below has its images."""


class Mirrored(Sampler):
    """The first records of the given set, upside down, each made from the record itself."""

    split = "test"
    has_target = has_input = True

    def __init__(
        self, generator: Generator, names: Sequence[str], imitated: PackedDataset, given: PackedDataset, count: int, seed: int
    ) -> None:
        self.records, self.identity, self.classes = given.images(np.arange(count)), "upside down", []

    def __call__(self, batch: int, turn: tuple[int, int] = (0, 1)) -> Iterator[Sample]:
        for start in range(0, len(self.records), batch):
            records = self.records[start : start + batch]
            yield Sample(records[:, :, ::-1].copy(), records, records if self.palette is None else np.zeros_like(records))


class OfMaps(Mirrored):
    palette = np.zeros((1, 3), np.uint8)


def test_a_sampler_says_what_its_images_were_made_from(means: Any, digits: Path, measured: Measured, tmp_path: Path) -> None:
    one = evaluator(digits, measured, tmp_path, metrics=["l1", "kernel"], batch=32)
    generator = Mirror(2, ImageShape(28, 1, 0))
    names = ["l1", "input_l1", "kernel_means", "input_kernel_means", "floor_kernel_means"]
    found = one.measure(generator, (), Mirrored)
    assert [measurement.name for measurement in found.measurements] == names
    assert found["input_l1"].value == 0 and found["l1"].identity.sampling == "upside down"
    maps = one.measure(generator, (), OfMaps)
    assert [measurement.name for measurement in maps.measurements] == [name for name in names if not name.startswith("input")]
    assert maps["l1"] == found["l1"]
