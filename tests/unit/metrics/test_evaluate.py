"""Whole evaluations: what they measure, what they refuse, and that the distance ranks worse images as worse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.config.evaluation import EvaluateSettings
from atelier.data.packed import PackedDataset
from atelier.extractors.base import Extractor
from atelier.metrics import acceptance
from atelier.metrics import classifier as classifier_module
from atelier.metrics.bias import real_distance
from atelier.metrics.coverage import memorization, prdc
from atelier.metrics.evaluator import SAMPLING, Evaluation, Evaluator, read_evaluation
from atelier.metrics.frechet import Moments, frechet_estimate
from atelier.metrics.identity import IdentityMismatch, Measurement, MetricError, compare
from atelier.metrics.kernel import kernel_distance, kernel_standard_error
from atelier.metrics.reference import reference_indices
from atelier.networks.base import LatentGenerator
from atelier.networks.layers import ImageShape
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured, cut, dataset_fixture

__all__ = ["dataset_fixture"]


def evaluate(images: np.ndarray, dataset: PackedDataset, settings: EvaluateSettings, cache: Path) -> Evaluation:
    return Evaluator(dataset, settings, cache, progress=False)(cut(images, 20))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_module, "IMAGES", 0)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_values_are_those_of_the_functions(
    means: Any, short: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray
) -> None:
    images = held_out[:200]
    evaluation = evaluate(images, dataset, measured(samples=200, seed=5), tmp_path)
    extractor = Extractor("means", means(), lambda images: images.float() / 255, 16, "", "", (28, 28), 16)
    seen = [extractor.features(part) for part in (images, dataset.images(np.arange(len(dataset))))]
    moments = [Moments(16), Moments(16)]
    for each, part in zip(moments, seen, strict=True):
        each.update(part)
    mean, deviation = kernel_distance(seen[0], seen[1], seed=5)
    frechet = evaluation["frechet_means"]
    assert (frechet.value, frechet.standard_error) == frechet_estimate(seen[0], *moments)
    assert evaluation["kernel_means"].value == mean
    assert evaluation.flat["kernel_means_std"] == deviation
    assert list(evaluation.flat) == [
        "frechet_means", "kernel_means", "precision", "recall", "density", "coverage", "memorised",
        "originality", "originality_p10", "originality_p90", "unclassifiable",
        "classifier_confident", "class_share_min", "classifier_real", "classifier_accuracy", "kernel_means_std",
    ]  # fmt: skip
    assert evaluation["kernel_means"].standard_error == kernel_standard_error(seen[0], seen[1], seed=5)
    equally_many = seen[1][reference_indices(len(seen[1]), seed=5, cap=200)]
    expected = {
        **dataclasses.asdict(prdc(equally_many, seen[0])),
        "memorised": memorization(seen[0], seen[1], extractor.features(held_out)),
    }
    assert {name: (evaluation[name].value, evaluation[name].standard_error) for name in expected} == expected
    assert sum(evaluation.class_shares.values()) == pytest.approx(1)
    assert list(evaluation.class_shares) == dataset.classes
    assert evaluation["class_share_min"].value == min(evaluation.class_shares.values())
    share = evaluation["classifier_confident"]
    assert share.standard_error == pytest.approx((share.value * (1 - share.value) / 200) ** 0.5)
    assert [m.higher_is_better for m in evaluation.measurements] == [False, False, *[True] * 4, False, *[True] * 8]


def test_the_share_read_is_also_given_relative_to_real_images(
    short: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = Evaluator(dataset, measured(samples=200, metrics=["classifier"]), tmp_path, progress=False)
    classifier: Any = evaluator.readers["classifier"]
    found = replace(classifier.real, count=200, confident=0.72)
    monkeypatch.setattr(classifier_module, "summarize", lambda _: found)
    object.__setattr__(classifier, "real", replace(classifier.real, count=100, confident=0.9))
    one = evaluator(cut(held_out[:200]))["classifier_relative"]
    assert one.value == pytest.approx(0.8) and one.higher_is_better
    assert one.standard_error == pytest.approx(0.8 * (0.28 / 0.72 / 200 + 0.1 / 0.9 / 100) ** 0.5)
    assert one.identity.parameters == f"confident above 0.9; over real images: {len(held_out)} images of the test split"


def features(images: np.ndarray) -> np.ndarray:
    squares = images.astype(np.float32).mean(axis=1).reshape(len(images), 4, 7, 4, 7) / 255
    return squares.mean(axis=(2, 4)).reshape(len(images), 16)


def test_identity_names_what_moves_the_value(
    means: Any, short: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray
) -> None:
    settings = measured(samples=100, seed=5)
    evaluation = evaluate(held_out[:100], dataset, settings, tmp_path)
    kernel = evaluation["kernel_means"].identity
    assert dataclasses.asdict(kernel) == {
        "metric": "kernel_means",
        "extractor": "means, 16 features",
        "weights": "0" * 64,
        "resize": "none",
        "samples": 100,
        "sampling": SAMPLING,
        "reference": f"{dataset.content_hash}:train",
        "reference_count": len(dataset),
        "seed": 5,
        "parameters": "cubic polynomial, unbiased, 100 subsets of 100",
        "kind": "kernel",
    }
    frechet = dataclasses.replace(kernel, metric="frechet_means", kind="frechet", parameters="ddof 1")
    assert frechet == evaluation["frechet_means"].identity
    among = {name: evaluation[name].identity for name in ("coverage", "memorised")}
    assert (among["coverage"].reference_count, among["coverage"].parameters) == (100, "5 neighbours")
    assert among["memorised"].reference_count == len(dataset)
    assert among["memorised"].parameters == f"nearer than 99% of {len(held_out)} images of the test split"
    real = evaluation["classifier_real"].identity
    assert (real.samples, real.sampling) == (len(held_out), f"real images: {len(held_out)} images of the test split")
    assert len(real.weights) == 64


class Drawing(LatentGenerator):
    """Paints its label as a level of gray."""

    def __init__(self, classes: int) -> None:
        super().__init__(2, ImageShape(28, 1, classes))
        self.scale = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None, noise: torch.Tensor | None = None) -> torch.Tensor:
        level = torch.zeros(len(z)) if label is None else label
        return (level * self.scale / 127.5 - 1).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28)


def test_classes_are_drawn_as_often_as_they_occur(
    means: Any, pack_images: Callable[..., PackedDataset], measured: Measured, tmp_path: Path
) -> None:
    """A generator as good as the images must not be far from them because they are uneven."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    dataset = pack_images({"a": list(noise[:80]), "b": list(noise[80:])}, resolution=28, channels=1, holdout=0.0)
    evaluator = Evaluator(dataset, measured(samples=1000, metrics=["frechet"]), tmp_path, progress=False)

    def shares(*classes: str) -> list[float]:
        sampler = evaluator.sampler(Drawing(len(classes)), classes)
        levels = np.concatenate([one.images for one in sampler(64)])[:, 0, 0, 0] // 10
        return [float((levels == index).mean()) for index in range(max(len(classes), 1))]

    assert shares("b", "a") == pytest.approx([0.2, 0.8], abs=0.04)
    assert shares("b", "unknown") == [1.0, 0.0]
    assert shares("c", "d") == pytest.approx([0.5, 0.5], abs=0.05), "nothing in common: uniform"
    assert shares() == [1.0]


def test_how_images_are_cut_into_batches_changes_no_bit(
    means: Any, short: None, dataset: PackedDataset, measured: Measured, shared_cache: Path, held_out: np.ndarray
) -> None:
    evaluator = Evaluator(dataset, measured(samples=150), shared_cache, progress=False)
    assert evaluator(cut(held_out[:150], 7)).flat == evaluator(cut(held_out[:150], 64)).flat


def test_an_evaluation_leaves_the_random_state_alone(
    means: Any, short: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray
) -> None:
    before = torch.get_rng_state()
    evaluate(held_out[:64], dataset, measured(samples=64), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_what_is_asked_for_is_computed(
    means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_module, "load_classifier", lambda *args: pytest.fail("classifier was not asked for"))
    settings = measured(samples=64, metrics=["frechet"])
    evaluation = evaluate(held_out[:64], dataset, settings, tmp_path)
    assert list(evaluation.flat) == ["frechet_means"]
    assert evaluation.features is not None
    np.testing.assert_allclose(evaluation.features, features(held_out[:64]), atol=1e-6)
    monkeypatch.undo()
    monkeypatch.setattr(classifier_module, "IMAGES", 0)
    monkeypatch.setattr("atelier.metrics.evaluator.load_extractor", lambda *args: pytest.fail("no extractor was asked for"))
    settings = measured(samples=64, metrics=["classifier"])
    evaluation = evaluate(held_out[:64], dataset, settings, tmp_path)
    assert evaluation.features is None
    assert "classifier_confident" in evaluation.flat
    with pytest.raises(MetricError, match="fid was not measured; there are classifier_confident, class_share_min"):
        evaluation["fid"]


def test_json_keeps_every_number_with_its_identity(
    means: Any, short: None, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray
) -> None:
    evaluation = replace(evaluate(held_out[:64], dataset, measured(samples=64), tmp_path / "cache"), generator="a" * 64)
    path = tmp_path / "metrics.json"
    evaluation.write(path)
    values = json.loads(path.read_text())
    assert {name: values[name] for name in evaluation.flat} == evaluation.flat
    assert list(values["identity"]) == sorted(m.name for m in evaluation.measurements)
    again = read_evaluation(path)
    assert again.measurements == evaluation.measurements
    assert (again.flat, again.class_shares) == (evaluation.flat, evaluation.class_shares)
    assert again.generator == values["generator"] == "a" * 64
    again.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"measurements": [{"value": 1}], "class_shares": {}, "spread": {}}'])
def test_json_of_another_form_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(MetricError, match=r"metrics.json: metrics cannot be read .*; run the evaluation first"):
        read_evaluation(path)
    path.write_text(content)
    with pytest.raises(MetricError, match=r"metrics.json: not the metrics of this version .*; evaluate again"):
        read_evaluation(path)


def test_beside_a_distance_of_few_images_stands_that_of_real_ones(
    means: Any,
    dataset: PackedDataset,
    pack_images: Callable[..., PackedDataset],
    measured: Measured,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    """With `keep`, where a set has fewer images than the 16 features; computed once for all that are measured."""
    random = np.random.default_rng(0)
    few = pack_images({"one": list(random.integers(0, 256, (12, 32, 32, 3), np.uint8))}, resolution=32)
    settings = measured(samples=64, metrics=["frechet"])
    calls: list[int] = []

    def counted(*arguments: Any) -> float | None:
        calls.append(1)
        return real_distance(*arguments)

    monkeypatch.setattr("atelier.metrics.bias.real_distance", counted)
    for images, keep, names in ((dataset, True, 1), (few, False, 1), (few, True, 2)):
        evaluator = Evaluator(images, settings, tmp_path, keep=keep, progress=False)
        shape = (64, images.channels, images.resolution, images.resolution)
        found = [evaluator([Sample(random.integers(0, 256, shape, np.uint8))]) for _ in range(2)]
        assert [len(one.measurements) for one in found] == [names, names]
    assert len(calls) == 1 and evaluator.reference
    real = found[0]["real_frechet_means"]
    assert real == found[1]["real_frechet_means"] and acceptance.distance(found[0]) == found[0]["frechet_means"]
    assert real.value == real_distance(evaluator.reference.features, 64, settings.seed)
    assert (real.identity.samples, real.identity.reference_count) == (64, 12)
    reason = acceptance.reason(found[0], settings.model_copy(update={"max_distance": 0.0}))
    assert reason.endswith(f"two samples of real images in the same numbers (64 and 12) are about {real.value:.4g} apart")


def test_a_reference_too_small_for_a_metric_is_refused_at_once(
    means: Any, pack_images: Callable[..., PackedDataset], measured: Measured, tmp_path: Path
) -> None:
    few = pack_images({"one": [np.full((32, 32, 3), 40 * n, np.uint8) for n in range(5)]}, resolution=32)
    said = "evaluate.metrics: prdc needs at least 6 images in each set, and there are 64 generated and 5 reference images; add"
    with pytest.raises(MetricError, match=said):
        Evaluator(few, measured(samples=64, metrics=["prdc"]), tmp_path, progress=False)
    assert means.passes == 0


def test_images_that_do_not_fit_are_refused(
    means: Any, dataset: PackedDataset, measured: Measured, shared_cache: Path, held_out: np.ndarray
) -> None:
    evaluator = Evaluator(dataset, measured(samples=64, metrics=["frechet"]), shared_cache, progress=False)
    for images, reason in (
        (held_out[:60], "60 images were generated but evaluate.samples is 64"),
        (held_out[:65], "more than evaluate.samples = 64"),
        (held_out[:64].repeat(3, axis=1), r"images are uint8 \(3, 28, 28\) but .* holds uint8 \(1, 28, 28\)"),
        (held_out[:64, :, :20], r"uint8 \(1, 20, 28\)"),
        (held_out[:64].astype(np.float32), "float32"),
    ):
        with pytest.raises(MetricError, match=reason):
            evaluator(cut(images))


def test_settings_that_do_not_fit_are_refused(digits: Path, measured: Measured, tmp_path: Path) -> None:
    dataset = PackedDataset(digits)
    dataset.classes = []
    with pytest.raises(MetricError, match=r"classifier needs a packed set with labels, .*; set data\.NAME\.labels"):
        Evaluator(dataset, measured(metrics=["classifier"]), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_without_held_out_images_nothing_is_known_of_what_was_memorised(
    means: Any, pack_images: Callable[..., PackedDataset], measured: Measured, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    dataset = pack_images({"a": list(noise)}, resolution=28, channels=1, holdout=0.0)
    said = r"memorised needs images held out from training, .*; raise data.NAME.holdout .* set gate.max_memorised: 1.0"
    with pytest.raises(MetricError, match=said):
        Evaluator(dataset, measured(samples=16, metrics=["memorised"]), tmp_path, progress=False)


def measurement(value: float = 1.0, **changes: Any) -> Measurement:
    identity = {
        "metric": "frechet_efficientnet_lite0", "extractor": "efficientnet_lite0", "weights": "ab", "resize": "none",
        "samples": 1000, "sampling": "uniform", "reference": "cd:train", "reference_count": 50, "seed": 0, "parameters": "ddof 1",
        "kind": "frechet",
    }  # fmt: skip
    return Measurement.from_dict(
        {"value": value, "standard_error": None, "higher_is_better": False, "identity": {**identity, **changes}}
    )


def test_equal_identities_compare() -> None:
    assert compare(measurement(5.0), measurement(3.5)) == -1.5


@pytest.mark.parametrize("part", [field.name for field in dataclasses.fields(measurement().identity)])
def test_each_part_of_an_identity_forbids_a_comparison(part: str) -> None:
    other: Any = 7 if part in ("samples", "reference_count", "seed") else "other"
    with pytest.raises(IdentityMismatch, match=f"{part}: .*, not {other}") as error:
        compare(measurement(), measurement(**{part: other}))
    assert str(error.value).count(", not ") == 1


def test_all_parts_that_differ_are_named() -> None:
    with pytest.raises(IdentityMismatch, match="samples: 1000, not 500; reference: cd:train, not ef:train"):
        compare(measurement(), measurement(samples=500, reference="ef:train"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(MetricError, match=f"frechet_efficientnet_lite0 is {value}"):
        measurement(value)
