"""The Fréchet distance within each class."""

from __future__ import annotations

import numpy as np
import pytest

from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from atelier.metrics.identity import MetricError
from atelier.metrics.per_class import per_class, worst

CLASSES = ["hand", "chest", "head"]
DIM = 12


def labelled(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [count, DIM] around a center of their class, and the classes; class 1 is moved by `shift`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return (random.standard_normal((count, DIM)) + 4 * labels[:, None] + shift * (labels == 1)[:, None]).astype(
        np.float32
    ), labels


def moments(features: np.ndarray) -> Moments:
    made = Moments(DIM)
    made.update(features)
    return made


def test_each_value_is_the_distance_of_its_class_alone() -> None:
    (generated, theirs), (real, own) = labelled(300, 0), labelled(500, 1)
    found = per_class(generated, theirs, real, own, CLASSES)
    assert list(found) == CLASSES
    for label, name in enumerate(CLASSES):
        first, second = moments(generated[theirs == label]), moments(real[own == label])
        assert found[name] == frechet_estimate(generated[theirs == label], first, second)
        assert found[name][0] == pytest.approx(frechet_distance(first, second), rel=1e-12)


def test_the_class_that_is_painted_badly_is_found() -> None:
    found = per_class(*labelled(400, 0, shift=1.5), *labelled(500, 1), CLASSES)
    assert worst(found) == ("chest", found["chest"][0])
    assert found["chest"][0] == pytest.approx(1.5**2 * DIM, rel=0.15)
    assert max(found["hand"][0], found["head"][0]) < 0.1 * found["chest"][0]
    error = found["chest"][1]
    assert error is not None and error < 0.15 * found["chest"][0]


def test_classes_that_are_swapped_are_far_though_the_whole_is_near() -> None:
    (generated, theirs), (real, own) = labelled(400, 0), labelled(500, 1)
    swapped = np.array([2, 1, 0])[theirs]
    found = per_class(generated, swapped, real, own, CLASSES)
    assert found["hand"][0] > 100 * found["chest"][0]
    assert frechet_distance(moments(generated), moments(real)) < found["chest"][0]


@pytest.mark.parametrize(("count", "known"), [(2, False), (4, False), (5, True), (9, True)])
def test_of_few_images_no_error_is_known(count: int, known: bool) -> None:
    generated, theirs = labelled(200, 0)
    some = np.concatenate([np.flatnonzero(theirs == 0)[:count], np.flatnonzero(theirs != 0)])
    found = per_class(generated[some], theirs[some], *labelled(500, 1), CLASSES)
    assert found["hand"][0] > 0 and (found["hand"][1] is not None) is known
    assert found["chest"][1] is not None


def test_the_error_of_five_images_is_what_repeated_draws_show() -> None:
    real, own = labelled(600, 1)
    draws = [np.random.default_rng(seed).standard_normal((5, DIM)).astype(np.float32) for seed in range(150)]
    found = [per_class(drawn, np.zeros(5, int), real[own == 0], own[own == 0], CLASSES[:1])["hand"] for drawn in draws]
    values, errors = np.array(found, dtype=float).T
    assert 0.75 < errors.mean() / values.std(ddof=1) < 1.5


def test_a_class_without_images_is_named() -> None:
    (generated, theirs), real = labelled(60, 0), labelled(90, 1)
    few = (theirs != 1) | (np.cumsum(theirs == 1) == 1)
    with pytest.raises(
        MetricError, match=r"class chest has 1 generated and \d+ reference images, and a distance needs 2 of each"
    ):
        per_class(generated[few], theirs[few], *real, CLASSES)
    with pytest.raises(MetricError, match=r"class cat has 0 generated and 0 reference images"):
        per_class(generated, theirs, *real, [*CLASSES, "cat"])


def test_labels_that_do_not_fit_are_refused() -> None:
    (generated, theirs), (real, own) = labelled(60, 0), labelled(90, 1)
    with pytest.raises(MetricError, match=r"labels of generated images do not fit: 60 of them must be in 0 … 2"):
        per_class(generated, theirs[1:], real, own, CLASSES)
    with pytest.raises(MetricError, match=r"labels of reference images do not fit: 90 of them must be in 0 … 2"):
        per_class(generated, theirs, real, own + 1, CLASSES)
    with pytest.raises(MetricError, match=r"labels of generated images do not fit"):
        per_class(generated, theirs - 1, real, own, CLASSES)
