"""What is measured of larger and of cleaner images: luma, borders, enlarged inputs beside them, consistency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from atelier.config.metrics import Need, metrics
from atelier.data.packed import PackedDataset
from atelier.extractors.base import Extractor
from atelier.metrics.evaluator import Evaluation, Evaluator
from atelier.metrics.identity import MetricError
from atelier.metrics.kernel import kernel_distance
from atelier.metrics.pairs import (
    WINDOW,
    ConsistencyReader,
    PairReader,
    as_large,
    as_small,
    luma,
    of_luma,
    psnr,
    psnr_of_equals,
    ssim,
    times_larger,
)
from atelier.report import facts
from atelier.tasks.sampling import Sample
from tests.support.evaluations import Measured
from tests.support.imresize import imresize, of_8_bits

COUNT, SCALE = 40, 4


def photos() -> np.ndarray:
    """uint8 [3, 3, 96, 96] of scikit-image's pictures."""
    cuts = (data.astronaut()[80:176, 180:276], data.coffee()[150:246, 200:296], data.chelsea()[80:176, 120:216])
    return np.ascontiguousarray(np.stack(cuts).transpose(0, 3, 1, 2))


def in_place(images: np.ndarray) -> list[np.ndarray]:
    """As scikit-image has them, [H, W, C] each."""
    return list(images.transpose(0, 2, 3, 1))


def theirs_ssim(target: np.ndarray, image: np.ndarray) -> float:
    given = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    axis = -1 if target.ndim == 3 else None
    return float(structural_similarity(target, image, channel_axis=axis, **given))


def test_luma_is_that_of_scikit_image_and_matlab() -> None:
    images = photos()
    np.testing.assert_allclose(luma(images)[:, 0], np.stack([rgb2ycbcr(image)[..., 0] for image in in_place(images)]), atol=1e-9)
    colors = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    found = luma(colors.T[None, :, :, None])[0, 0, :, 0]
    np.testing.assert_allclose(found, [16, 235, 81.481, 144.553, 40.966], atol=1e-9)
    gray = images[:, :1]
    assert np.array_equal(luma(gray), gray)


def test_luma_of_16_to_235_lifts_the_psnr_by_a_constant() -> None:
    """Where all channels err alike: 20 log10(255 / 219), 1.32 dB."""
    target = photos().clip(0, 245)
    assert of_luma(psnr)(target + np.uint8(9), target) - psnr(target + np.uint8(9), target) == pytest.approx(1.3219, abs=1e-3)


@pytest.mark.parametrize("scale", [2, 4])
def test_protocols_are_those_of_scikit_image_beside_matlabs_bicubic(scale: int) -> None:
    target = photos()
    given = of_8_bits(imresize(target.astype(float), 1 / scale))
    bicubic = of_8_bits(imresize(given.astype(float), scale))
    images = (target.astype(int) + np.random.default_rng(0).integers(-9, 10, target.shape)).clip(0, 255).astype(np.uint8)
    inner = np.s_[scale:-scale, scale:-scale]
    for error, of_y, theirs in (
        (psnr, False, lambda t, x: peak_signal_noise_ratio(t, x, data_range=255)),
        (of_luma(psnr), True, lambda t, x: peak_signal_noise_ratio(t, x, data_range=255)),
        (ssim, False, theirs_ssim),
        (of_luma(ssim), True, theirs_ssim),
    ):
        found = PairReader(error, border=True, least=WINDOW).read(Sample(images, target, given))
        assert np.array_equal(found[:, 2], [scale] * 3)
        for column, side in enumerate((images, bicubic)):
            seen = [[rgb2ycbcr(one)[..., 0] if of_y else one for one in in_place(both)] for both in (target, side)]
            expected = [theirs(one[inner], other[inner]) for one, other in zip(*seen, strict=True)]
            np.testing.assert_allclose(found[:, column], expected, rtol=1e-4)


def test_without_a_scale_no_border_is_left_out() -> None:
    target = photos()
    noisy = (target.astype(int) + np.random.default_rng(0).integers(-20, 21, target.shape)).clip(0, 255).astype(np.uint8)
    found = PairReader(psnr, border=True).read(Sample(target, target, noisy))
    np.testing.assert_allclose(found[:, 1], psnr(noisy, target), rtol=1e-6)
    assert np.array_equal(found[:, 2], np.ones(3))


def test_metrics_of_whole_images_leave_no_border_out() -> None:
    target = photos()
    given = as_small(target, 4)
    found = PairReader(psnr).read(Sample(target, target, given))
    np.testing.assert_allclose(found[:, 1], psnr(as_large(given, 4), target), rtol=1e-6)


def test_gray_inputs_are_enlarged_too() -> None:
    target = photos()
    given = as_small(target, 2)[:, :1]
    found = PairReader(psnr, border=True).read(Sample(target, target, given))
    beside = as_large(given, 2).repeat(3, axis=1)
    np.testing.assert_allclose(found[:, 1], psnr(beside[:, :, 2:-2, 2:-2], target[:, :, 2:-2, 2:-2]), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "factor"), [((12, 12), 4), ((48, 48), 1), ((16, 24), 0), ((24, 16), 0), ((96, 96), 0), ((36, 36), 0)]
)
def test_only_whole_numbers_of_times_compare(shape: tuple[int, int], factor: int) -> None:
    assert times_larger(np.zeros((1, 3, 48, 48)), np.zeros((1, 3, *shape))) == factor


def test_sizes_are_matlabs_with_8_bits() -> None:
    images = photos()
    differ = as_small(images, 3) != of_8_bits(imresize(images.astype(float), 1 / 3))
    assert differ.mean() < 1e-3
    small = images[:, :, :20, :24]
    assert (as_large(small, 3) != of_8_bits(imresize(small.astype(float), 3))).mean() < 1e-3
    assert as_large(small, 1) is small


def test_images_are_consistent_with_what_they_shrink_to() -> None:
    target = photos()
    given = as_small(target, 4)
    changed = target.astype(int)
    changed[:, :, ::2], changed[:, :, 1::2] = changed[:, :, ::2] + 3, changed[:, :, 1::2] - 3  # finer than the input's pixels
    fine, darker = changed.clip(0, 255).astype(np.uint8), np.maximum(target, 20) - 20
    equal = psnr_of_equals((3, 24, 24))
    found = ConsistencyReader().read(Sample(target, target, given))
    np.testing.assert_allclose(found[:, [0, 2]], equal, rtol=1e-6)
    assert (found[:, 1] > 25).all() and (found[:, 1] < 50).all()  # enlarging does not undo shrinking
    assert (ConsistencyReader().read(Sample(fine, target, given))[:, 0] > 45).all()
    assert (ConsistencyReader().read(Sample(darker, target, given))[:, 0] < 25).all()
    noisy = (given.astype(int) + np.random.default_rng(0).integers(-20, 21, given.shape)).clip(0, 255).astype(np.uint8)
    assert (ConsistencyReader().read(Sample(target, target, noisy))[:, 2] < 30).all()  # the targets say that it is not about size


def samples(target: np.ndarray, given: np.ndarray) -> Iterator[Sample]:
    """Images 5 levels darker than their targets."""
    images = np.maximum(target, 5) - 5
    for start in range(0, COUNT, 15):
        part = slice(start, start + 15)
        yield Sample(images[part], target[part], given[part])


@pytest.fixture
def evaluated(means: Any, digits: Path, measured: Measured, tmp_path: Path, held_out: np.ndarray) -> Any:
    def evaluate(given: np.ndarray, names: list[str]) -> Evaluation:
        settings = measured(samples=COUNT).model_copy(update={"metrics": names})
        evaluator = Evaluator(PackedDataset(digits, "test"), settings, tmp_path, keep=True, progress=False)
        return evaluator(samples(held_out[:COUNT], given), having={Need.TARGET, Need.PICTURE})

    return evaluate


def test_an_evaluation_names_bicubic_and_the_border(evaluated: Any, held_out: np.ndarray, means: Any) -> None:
    target = held_out[:COUNT]
    given = as_small(target, SCALE)
    found = evaluated(given, ["psnr", "psnr_y", "ssim_y", "l1", "consistency", "kernel", "content"])
    assert [one.name for one in found.measurements] == [
        "psnr", "psnr_median", "bicubic_psnr", "bicubic_psnr_median",
        "psnr_y", "psnr_y_median", "bicubic_psnr_y", "bicubic_psnr_y_median",
        "ssim_y", "bicubic_ssim_y", "l1", "bicubic_l1",
        "consistency", "bicubic_consistency", "target_consistency",
        "kernel_means", "bicubic_kernel_means", "floor_kernel_means", "content_means", "unrelated_content_means",
    ]  # fmt: skip
    border, enlarged = "; 4 px of each side left out", "; inputs enlarged 4 times as MATLAB's imresize does"
    assert found["psnr"].identity.parameters.endswith(border)
    assert found["bicubic_psnr_y"].identity.parameters == found["psnr_y"].identity.parameters + enlarged
    assert found["psnr_y"].identity.parameters.startswith("luma from 16 to 235") and border in found["ssim_y"].identity.parameters
    assert border not in found["l1"].identity.parameters and found["bicubic_l1"].identity.parameters.endswith(enlarged)
    assert found["content_means"].identity.parameters.endswith(enlarged)
    assert found["bicubic_kernel_means"].identity.parameters == found["kernel_means"].identity.parameters + enlarged
    assert found["bicubic_psnr_y"].kind == "bicubic_psnr_y"
    inner = np.s_[:, :, 4:-4, 4:-4]
    each = psnr(as_large(given, SCALE)[inner], target[inner])
    assert found["bicubic_psnr"].value == pytest.approx(each.mean(), rel=1e-6)
    np.testing.assert_allclose(found.of_each["bicubic_psnr"], each, rtol=1e-6)
    assert set(found.of_each) == {
        one.name for one in found.measurements if not one.name.endswith(("_median", "_means")) and one.kind != "unrelated_content"
    }
    assert found["bicubic_psnr_median"].value == pytest.approx(np.median(each), rel=1e-6)
    assert found["target_consistency"].value == pytest.approx(psnr_of_equals((1, 7, 7)), rel=1e-6)
    assert math.isfinite(found["bicubic_kernel_means"].value) and found["bicubic_l1"].value > 0


def test_the_kernel_distance_beside_it_is_that_of_the_enlarged_inputs(evaluated: Any, means: Any, held_out: np.ndarray) -> None:
    given = as_small(held_out[:COUNT], SCALE)
    found = evaluated(given, ["kernel"])
    look = Extractor("means", means(), lambda images: images.float() / 255, 16, "", "", (28, 28), 16).features
    seed = found["kernel_means"].identity.seed
    expected = kernel_distance(look(as_large(given, SCALE)), look(held_out), seed=seed)[0]
    assert found["bicubic_kernel_means"].value == pytest.approx(expected, rel=1e-6)


def test_inputs_of_the_same_size_stand_beside_as_they_are(evaluated: Any, held_out: np.ndarray) -> None:
    noisy = np.maximum(held_out[:COUNT], 30) - 30
    found = evaluated(noisy, ["psnr_y", "kernel"])
    assert {"input_psnr_y", "input_psnr_y_median", "input_kernel_means"} < found.flat.keys()
    assert not any(name.startswith("bicubic") for name in found.flat)
    assert "left out" not in found["psnr_y"].identity.parameters
    assert found["input_psnr_y"].value == pytest.approx(psnr(noisy, held_out[:COUNT]).mean(), rel=1e-6)


def test_the_report_shows_them_beside_the_generator(evaluated: Any, held_out: np.ndarray) -> None:
    found = evaluated(as_small(held_out[:COUNT], SCALE), ["psnr_y", "consistency"])
    rows = {row.name: row for row in (facts.metric_row(one, found, None) for one in facts.numbers(found))}
    assert set(rows) == {"psnr_y", "psnr_y_median", "consistency"}
    assert rows["psnr_y"].beside == f"bicubic enlargement: {facts.text(found['bicubic_psnr_y'])}"
    assert "; targets: " in rows["consistency"].beside and rows["psnr_y"].direction == "higher is better"
    assert facts.metric_title(found["bicubic_psnr_y"]) == "Bicubic enlargement: PSNR of luma in decibels, mean"


def test_what_says_nothing_is_refused(evaluated: Any, held_out: np.ndarray) -> None:
    with pytest.raises(MetricError, match=r"consistency shrinks images .* not 2, 3, \.\.\. times larger; take consistency out"):
        evaluated(held_out[:COUNT], ["consistency"])
    with pytest.raises(
        MetricError, match=r"of images of 28 x 28 px 0 are left without a border of 14 px, .* take ssim and ssim_y out"
    ):
        evaluated(as_small(held_out[:COUNT], 14), ["ssim_y"])
    assert all(metrics()[name].needs == {Need.TARGET, Need.PICTURE} for name in ("psnr_y", "ssim_y", "consistency"))
