"""Metrics of pairs as an evaluation gives them: beside the untranslated input, in the report's words, at the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atelier.config.metrics import Need, deciding, metrics, value_of
from atelier.config.registry import GateSettings
from atelier.data.packed import PackedDataset
from atelier.extractors.lite0 import LITE0_SHA256
from atelier.metrics import pairs
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.metric import RealImages, chosen
from atelier.registry.gate import Contender, decide
from atelier.report import facts
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured, dataset_fixture

__all__ = ["dataset_fixture"]

NAMES = ["l1", "perceptual", "psnr", "ssim"]
COUNT = 48


def samples(target: np.ndarray, given: bool = True) -> Iterator[Sample]:
    """Images 10 levels darker than their targets, of which every eighth is equal; made from pictures 40 levels darker."""
    images = np.where(np.arange(COUNT)[:, None, None, None] % 8 == 0, target, np.maximum(target, 10) - 10).astype(np.uint8)
    inputs = np.maximum(target, 40) - 40
    for start in range(0, COUNT, 20):
        part = slice(start, start + 20)
        yield Sample(images[part], target[part], inputs[part] if given else None)


@pytest.fixture(scope="module")
def evaluator(digits: Path, measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    settings = measured(samples=COUNT).model_copy(update={"metrics": NAMES})
    return Evaluator(PackedDataset(digits), settings, tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def found(evaluator: Evaluator, held_out: np.ndarray) -> Evaluation:
    return evaluator(samples(held_out[:COUNT]), having={Need.TARGET, Need.PICTURE})


def test_each_value_stands_beside_that_of_the_untranslated_input(found: Evaluation, held_out: np.ndarray) -> None:
    names = ["l1", "perceptual_efficientnet_lite0", "psnr", "psnr_median", "ssim"]
    assert {one.name for one in found.measurements} == {*names, *(f"input_{name}" for name in names)}
    target = held_out[:COUNT]
    images, inputs = (np.concatenate(parts) for parts in zip(*((one.images, one.input) for one in samples(target)), strict=True))
    for name, error in (("l1", pairs.mean_absolute_error), ("psnr", pairs.psnr), ("ssim", pairs.ssim)):
        for of, side in (("", images), ("input_", inputs)):
            each, one = error(side, target), found[f"{of}{name}"]
            assert one.value == pytest.approx(each.mean(), rel=1e-6)
            assert one.standard_error == pytest.approx(each.std(ddof=1) / COUNT**0.5, rel=1e-5)
            assert found[f"{of}psnr_median"].value == pytest.approx(np.median(pairs.psnr(side, target)), rel=1e-6)
    for name in names:
        own, untranslated = found[name], found[f"input_{name}"]
        assert (own.value > untranslated.value) == own.higher_is_better == untranslated.higher_is_better


def test_identities_name_the_network_and_the_targets(found: Evaluation, dataset: PackedDataset) -> None:
    one = found["perceptual_efficientnet_lite0"]
    assert (one.kind, one.identity.extractor, one.identity.weights) == (
        "perceptual",
        "efficientnet_lite0, 5 layers",
        LITE0_SHA256,
    )
    for one in found.measurements:
        assert (one.identity.reference, one.identity.reference_count) == (f"{dataset.content_hash}:train", COUNT)
    assert found["input_l1"].kind == "input_l1" and found["l1"].identity.extractor == "none"


def test_the_report_shows_the_generator_and_keeps_the_input_apart(found: Evaluation) -> None:
    rows = [facts.metric_row(one, found, None) for one in facts.numbers(found)]
    assert [row.name for row in rows] == ["l1", "perceptual_efficientnet_lite0", "psnr", "psnr_median", "ssim"]
    assert {row.title for row in rows} >= {"Perceptual distance to the target in efficientnet_lite0", "PSNR in decibels, median"}
    assert rows[0].value.endswith("%") and [row.direction for row in rows].count("lower is better") == 2
    assert len(facts.numbers(found, "input")) == 5
    one = found["input_perceptual_efficientnet_lite0"]
    assert facts.metric_title(one) == "Untranslated input: Perceptual distance to the target in efficientnet_lite0"


def test_the_gate_decides_by_a_distance_and_bounds_shares(found: Evaluation) -> None:
    contenders = [
        Contender(
            number, str(number), {one.name: replace(one, value=value) if one.name == "l1" else one for one in found.measurements}
        )
        for number, value in ((1, 0.05), (2, 0.02))
    ]
    gate = GateSettings.model_validate({"primary": "l1", "min_delta": 0.001, "max_l1": 0.04, "min_ssim": 0.5})
    assert decide(contenders[1], contenders[0], gate).outcome == "promoted"
    refused = decide(contenders[0], contenders[1], gate)
    assert refused.outcome == "refused" and "l1 is 5.00%, above gate.max_l1 = 4.00%" in refused.reason
    assert {"l1", "lpips", "perceptual"} < deciding().keys()


def test_without_inputs_the_values_stand_alone(evaluator: Evaluator, found: Evaluation, held_out: np.ndarray) -> None:
    alone = evaluator(samples(held_out[:COUNT], given=False), having={Need.TARGET})
    assert alone.measurements == [one for one in found.measurements if not one.name.startswith("input_")]


def test_targets_are_needed(evaluator: Evaluator) -> None:
    with pytest.raises(MetricError, match=r"l1 needs a target for each .*, and there is none here; .* set gate\.max_l1: 1\.0"):
        evaluator(iter(()))
    assert all(Need.TARGET in metrics()[name].needs for name in [*NAMES, "lpips"])


@pytest.mark.parametrize(("name", "side", "said"), [("ssim", 8, "window of 11 px"), ("lpips", 28, "at least 31 px")])
def test_images_that_are_too_small_are_refused(name: str, side: int, said: str, dataset: PackedDataset, tmp_path: Path) -> None:
    dataset.resolution = side
    with pytest.raises(MetricError, match=f"evaluate.metrics: {name} .*{said} .* has .*{side} px; .*take {name} out"):
        chosen([name])[0].reader(RealImages(dataset, tmp_path, 0, False))


def test_a_value_of_an_input_has_the_name_of_its_own(found: Evaluation) -> None:
    assert value_of("input_psnr", "input_psnr").subject == "input"
    published = metrics()["frechet"].values[0].of_input
    assert published.name("inception", True) == "input_fid" and published.name("dinov2", False) == "input_frechet_dinov2"
    assert published.title_of("input_fid") == "Untranslated input: FID"
    assert not published.decides and not published.limit
