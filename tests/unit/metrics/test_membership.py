"""Membership inference against scikit-learn, plain loops and known distributions; and the metric on images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from atelier.config.metrics import Need, metrics
from atelier.config.registry import GateSettings
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.membership import Attack, by_distance, by_logit, halves
from atelier.registry.gate import Contender, decide
from tests.support.evaluations import Measured, cut, dataset_fixture

__all__ = ["dataset_fixture"]


def test_the_area_is_scikit_learns_and_its_error_delongs() -> None:
    random = np.random.default_rng(0)
    members, others = random.normal(0.4, 1, 70).round(1), random.normal(0, 1, 45).round(1)  # rounded: there are ties
    value, error = Attack(members, others).auc()
    labels = np.repeat([1, 0], [70, 45])
    assert value == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])), abs=1e-12)
    order = np.array([[(a > b) + (a == b) / 2 for b in others] for a in members])
    variance = np.cov(order.mean(axis=1)) / 70 + np.cov(order.mean(axis=0)) / 45
    assert error == pytest.approx(np.sqrt(variance), rel=1e-9)


@pytest.mark.parametrize(("count", "least"), [(200, 0.93), (4000, 0.93)])
def test_the_interval_of_what_is_found_holds_the_truth(count: int, least: float) -> None:
    """Scores of two normal distributions, of which the share above the threshold is known."""
    truth = norm.sf(norm.isf(0.001) - 1.5)
    random, held = np.random.default_rng(1), []
    for _ in range(300):
        value, error = Attack(random.normal(1.5, 1, 1000), random.normal(0, 1, count)).found()
        held.append(abs(value - truth) <= 1.96 * error)
    assert np.mean(held) >= least


def test_few_images_cannot_show_a_thousandth() -> None:
    few, many = (Attack(np.arange(3000.0), np.arange(float(count)) - 100) for count in (250, 3000))
    assert (few.allowed(), many.allowed()) == (0, 3)
    assert few.found()[0] == pytest.approx((2999 - 149) / 3000) and many.found()[0] == pytest.approx(103 / 3000)
    assert few.bound() == pytest.approx(1 - 0.05 ** (1 / 250)) and few.bound() > 0.01
    assert few.found()[0] - 1.96 * few.found()[1] <= 0, "nothing is shown"


def test_distances_are_calibrated_by_the_nearest_reference() -> None:
    random = np.random.default_rng(2)
    generated, training, reference, others = (random.normal(size=(count, 6)).astype(np.float32) for count in (40, 30, 25, 20))
    training[0], training[1], reference[0] = generated[0], generated[1], generated[1]
    differences, ratios = by_distance(generated, training, reference, others)
    assert ratios.members[0] == np.inf and ratios.members[1] == 1, "a copy, and an image that everybody has"
    for side, images in (("members", training), ("others", others)):
        real, own = (cdist(images, one).min(axis=1) ** 2 for one in (reference, generated))
        assert getattr(differences, side) == pytest.approx(real - own, rel=1e-5, abs=1e-5)
        assert getattr(ratios, side)[2:] == pytest.approx((real / np.maximum(own, 1e-9))[2:], rel=1e-5)


def test_logits_count_from_the_mean_of_their_label() -> None:
    logits = np.array([3.0, 7.0, 1.0]), np.array([1.0, 3.0, 6.0, 2.0]), np.array([2.5, 6.5])
    labels = np.array([0, 1, 2]), np.array([0, 0, 1, 1]), np.array([0, 1])
    attack = by_logit(logits, labels)
    assert attack.members.tolist() == [1, 3, -2] and attack.others.tolist() == [0.5, 2.5]  # label 2 is in no reference: mean 3


def test_halves_share_nothing_and_few_are_refused() -> None:
    calibrating, others = halves(41, seed=3)
    assert sorted([*calibrating, *others]) == list(range(41)) and len(calibrating) == 20
    with pytest.raises(MetricError, match=r"at least 20 held-out images, and there are 19; raise data.NAME.holdout"):
        halves(19, seed=3)


def test_copies_give_their_originals_away(means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path) -> None:
    count = len(dataset)
    evaluator = Evaluator(dataset, measured(samples=count // 2, metrics=["membership"]), tmp_path, progress=False)
    copies = evaluator(cut(dataset.images(np.arange(count // 2))))
    noise = np.random.default_rng(0).integers(0, 256, (count // 2, 1, 28, 28), dtype=np.uint8)
    strangers = evaluator(cut(noise))
    assert list(copies.flat) == ["membership_auc", "membership_tpr"]
    assert copies["membership_auc"].value > 0.63 and copies["membership_tpr"].value > 0.4
    interval = strangers["membership_auc"].interval
    assert interval and interval[0] < 0.5 < interval[1] and strangers["membership_tpr"].value < 0.05
    identity = copies["membership_tpr"].identity
    assert "0 of 177 others taken for trained on, too few for 0.1%: up to 1.68% is possible" in identity.parameters
    assert identity.reference_count == count and identity != strangers["membership_auc"].identity


def test_the_discriminators_logit_is_asked_where_there_is_one(
    means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path
) -> None:
    evaluator = Evaluator(dataset, measured(samples=32, metrics=["membership"]), tmp_path, progress=False)
    asked = list[tuple[str, int]]()

    def judge(images: PackedDataset, rows: np.ndarray) -> np.ndarray:
        """Has learnt every training image by heart, beside a constant of each label."""
        asked.append((images.split, len(rows)))
        noise = np.random.default_rng(len(rows)).normal(0, 0.1, len(rows))
        return 100.0 * images.labels[rows] + noise + (images.split == "train")

    given = evaluator._met_by((), None, ()) | {Need.DISCRIMINATOR: partial(evaluator._judged, judge)}
    columns = (evaluator._columns(one, given) for one in cut(dataset.images(np.arange(32))))
    found = evaluator._evaluation(columns, given, "x").flat
    assert found["membership_logit_auc"] > 0.999 and found["membership_logit_tpr"] > 0.99
    held_out = len(PackedDataset(dataset.folder, "test"))
    assert asked == [("train", len(dataset)), ("test", held_out // 2), ("test", held_out - held_out // 2)]


def test_the_gate_bounds_it(means: Any, dataset: PackedDataset, measured: Measured, tmp_path: Path) -> None:
    settings = measured(samples=len(dataset) // 2, metrics=["kernel", "membership"])
    evaluator = Evaluator(dataset, settings, tmp_path, progress=False)
    found = evaluator(cut(dataset.images(np.arange(len(dataset) // 2))))
    candidate = Contender(1, "a", {one.name: one for one in found.measurements})
    loose, strict = (GateSettings(primary="kernel", min_delta=0.0, max_membership_auc=limit) for limit in (1.0, 0.6))  # type: ignore[call-arg]
    assert decide(candidate, None, loose).outcome == "promoted"
    decision = decide(candidate, None, strict)
    assert decision.outcome == "refused" and "above gate.max_membership_auc = 60.00%" in decision.reason
    assert metrics()["membership"].uses == {Need.DISCRIMINATOR}
