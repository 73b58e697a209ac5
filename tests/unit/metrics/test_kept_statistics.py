"""Statistics that a generated set keeps, against plain loops and SciPy; and the metric on images and on folders."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr

from atelier.data.image_files import open_images
from atelier.data.packed import PackedDataset
from atelier.metrics import evaluator as evaluator_module
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.folders import measure_sets
from atelier.metrics.identity import MetricError
from atelier.metrics.kept_statistics import RealStatistics, as_many
from atelier.report.facts import metric_row
from tests.support.evaluations import Measured, cut, dataset_fixture
from tests.support.measured_folders import draw

__all__ = ["dataset_fixture"]


def test_means_and_correlations_are_those_of_plain_loops() -> None:
    random = np.random.default_rng(0)
    real, own = (random.normal(size=(count, 5)).astype(np.float32) for count in (30, 20))
    real[:, 3], own[:, 3] = 1, 2  # varies nowhere
    labels, others = np.arange(30) % 3, np.arange(20) % 2  # class 2 was not generated
    statistics = RealStatistics(real, labels)
    by_hand = [
        abs(own[others == c, j].mean() - real[labels == c, j].mean()) / real[:, j].std() for c in (0, 1) for j in (0, 1, 2, 4)
    ]
    assert statistics.class_means_apart(own, others) == pytest.approx(np.mean(by_hand), rel=1e-5)
    pairs = [
        abs(pearsonr(own[:, i], own[:, j])[0] - pearsonr(real[:, i], real[:, j])[0]) for i, j in combinations((0, 1, 2, 4), 2)
    ]
    assert statistics.correlations_apart(own) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert statistics.class_means_apart(real, labels) == 0 and statistics.correlations_apart(real) == pytest.approx(0, abs=1e-12)
    with pytest.raises(MetricError, match="8 images and two features that vary"):
        statistics.correlations_apart(own[:4])
    with pytest.raises(MetricError, match="no class is on both sides"):
        statistics.class_means_apart(own, others + 7)


def test_as_many_of_each_class_are_compared() -> None:
    own, other = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 1, 0, 3])
    rows, others = as_many(own, other, seed=0)
    assert sorted(own[rows]) == sorted(other[others]) == [0, 1, 1]
    with pytest.raises(MetricError, match="no class in common"):
        as_many(own, other + 9, seed=0)


def test_new_images_keep_them_and_noise_does_not(means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path) -> None:
    evaluator = Evaluator(dataset, measured(samples=300, metrics=["statistics"]), tmp_path, progress=False)
    names = [dataset.classes[label] for label in dataset.labels[:300]]
    kept = evaluator(cut(dataset.images(np.arange(300))), classes=names)
    noise = evaluator(cut(np.random.default_rng(0).integers(0, 256, (300, 1, 28, 28), dtype=np.uint8)), classes=names)
    assert list(kept.flat) == [
        "class_means_means",
        "held_out_class_means_means",
        "correlations_means",
        "held_out_correlations_means",
    ]
    for name in ("class_means_means", "correlations_means"):
        floor = kept[f"held_out_{name}"].value
        assert 0.3 * floor < kept[name].value < 2 * floor < noise[name].value
        assert noise[f"held_out_{name}"].value == floor
    row = metric_row(kept["class_means_means"], kept, None)
    assert row.beside.startswith("held-out images: ") and "10 classes" in row.identity["parameters"]
    blind = evaluator(cut(dataset.images(np.arange(300))))
    assert "1 classes" in blind["class_means_means"].identity.parameters


def test_a_set_that_stands_for_the_real_one_is_measured_from_folders(
    tmp_path: Path, means: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atelier.metrics.folders.load_extractor", evaluator_module.load_extractor)
    sets = (("own", 50, 0, 32), ("real", 60, 1, 32), ("new", 44, 2, 32), ("small", 44, 2, 16))
    generated, reference, held_out, small = (open_images(draw(tmp_path / name, *of)) for name, *of in sets)
    measured = partial(measure_sets, metrics=("membership", "statistics", "memorised"), extractor="means", weights="packaged")
    measured = partial(measured, cache=tmp_path / "cache", progress=False)
    found = measured(generated, reference, held_out=held_out)
    assert {"membership_auc", "memorised", "correlations_means", "held_out_correlations_means"} <= found.flat.keys()
    assert "2 classes" in found["class_means_means"].identity.parameters
    copied = measured(reference, reference, held_out=held_out)
    assert copied["membership_auc"].value > 0.95 > found["membership_auc"].value and copied["memorised"].value == 1
    with pytest.raises(MetricError, match=r"membership needs real images that nothing was trained on; give them by --held-out"):
        measured(generated, reference)
    with pytest.raises(MetricError, match="give held-out images of the size of the reference"):
        measured(generated, reference, held_out=small)
