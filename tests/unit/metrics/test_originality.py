"""Novelty, realism and ambiguity against values worked out by hand or in plain loops; and the metric on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.data.packed import PackedDataset
from atelier.metrics import classifier as classifier_module
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.originality import Familiar, ambiguity, originality
from tests.support.evaluations import Measured, cut, dataset_fixture

__all__ = ["dataset_fixture"]


def test_novelty_is_relative_to_new_real_images() -> None:
    training = np.arange(10, dtype=np.float32)[:, None]
    familiar = Familiar.of(training, np.array([[0.25], [3.5], [7.75], [11.0]], np.float32), np.arange(10))
    assert familiar.typical == pytest.approx(0.375)  # of 0.25, 0.5, 0.25 and 2
    assert familiar.novelty(np.array([[12.0], [4.0]], np.float32)) == pytest.approx([8, 0])
    with pytest.raises(MetricError, match="copies of training images"):
        Familiar.of(training, training[:3], np.arange(10))
    with pytest.raises(MetricError, match="more than 3 training images"):
        Familiar.of(training, training[:3] + 0.5, np.arange(3))


def test_realism_is_the_papers() -> None:
    random = np.random.default_rng(0)
    real, held_out, other = (random.standard_normal((count, 5)).astype(np.float32) for count in (40, 30, 12))
    other[0] *= 20
    familiar = Familiar.of(real, held_out, np.arange(40))
    radii = [np.sort(np.linalg.norm(real - one, axis=1))[3] for one in real]
    kept = np.argsort(radii)[:20]
    expected = [max(radii[i] / np.linalg.norm(one - real[i]) for i in kept) for one in other]
    assert familiar.realism(other) == pytest.approx(expected, rel=1e-5)
    assert familiar.realism(other)[0] < 0.2 and familiar.realism(real[kept[:1]])[0] > 1e3
    assert (familiar.realism(held_out) < familiar.real_like).mean() == pytest.approx(0.05, abs=0.03)
    assert familiar.bound(0.0) == 0


def test_ambiguity_is_the_relative_entropy_of_classes() -> None:
    found = ambiguity(np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32))
    assert found == pytest.approx([0, 1, 0.5])
    assert originality(np.array([2.0, 1.0, 0.0]), found) == pytest.approx([2, 2, 0.5])
    assert originality(np.ones(3), None).tolist() == [1, 1, 1]


def test_copies_are_not_original_and_noise_is_of_no_class(
    means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path, held_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_module, "IMAGES", 0)
    evaluator = Evaluator(dataset, measured(samples=100, metrics=["originality"]), tmp_path, progress=False)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (100, 1, 28, 28), dtype=np.uint8)
    found = [evaluator(cut(images)).flat for images in (dataset.images(np.arange(100)), held_out[:100], noise)]
    assert list(found[0]) == ["originality", "originality_p10", "originality_p90", "unclassifiable"]
    assert found[0]["originality"] < found[1]["originality"] < found[2]["originality"]
    assert [one["unclassifiable"] for one in found] == [0, pytest.approx(0, abs=0.06), 1]
    evaluation = evaluator(cut(noise))
    assert evaluation.of_each["originality"].mean() == pytest.approx(evaluation["originality"].value, rel=1e-5)
    identity = evaluation["unclassifiable"].identity
    assert "read by a classifier of 10 classes" in identity.parameters and identity.reference_count == len(dataset)


def test_without_labels_novelty_counts_alone(means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path) -> None:
    unlabelled = PackedDataset(dataset.folder)
    unlabelled.classes = []
    evaluator = Evaluator(unlabelled, measured(samples=50, metrics=["originality"]), tmp_path, progress=False)
    assert evaluator.readers == {}
    found = evaluator(cut(unlabelled.images(np.arange(50))))["originality"]
    assert found.value == 0 and "classifier" not in found.identity.parameters


def test_measured_by_held_out_images_it_is_the_same(
    means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tasks do whose generators are given held-out records: what is known are the training images all the same."""
    monkeypatch.setattr(classifier_module, "IMAGES", 0)
    settings = measured(samples=60, metrics=["originality", "memorised", "membership", "statistics"])
    noise = np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28), dtype=np.uint8)
    names = [dataset.classes[label] for label in dataset.labels[:60]]
    by_training, by_held_out = (
        Evaluator(real, settings, tmp_path, progress=False)(cut(noise), names)
        for real in (dataset, PackedDataset(dataset.folder, "test"))
    )
    assert by_held_out.flat == by_training.flat and len(by_training.flat) == 11
    for name in ("originality", "memorised", "membership_auc"):
        assert by_held_out[name].identity.reference != by_training[name].identity.reference
