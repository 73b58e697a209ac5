"""Errors of pairs against scikit-image and closed forms; estimates of their means and medians against repeated draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from atelier.metrics.pairs import PairReader, cosine_distance, mean, mean_absolute_error, median, psnr, psnr_of_equals, ssim
from atelier.tasks.sampling import Sample

RANDOM = np.random.default_rng(0)


def smooth(count: int, channels: int, side: int, seed: int) -> np.ndarray:
    """uint8 images [count, channels, side, side] with structure at several scales."""
    random = np.random.default_rng(seed)
    images = np.zeros((count, channels, side, side))
    for cells in (2, 4, 8):
        coarse = random.normal(size=(count, channels, cells, cells))
        index = np.arange(side) * cells // side
        images += coarse[:, :, index][:, :, :, index]
    return (127 + 40 * images).clip(0, 255).astype(np.uint8)


def pairs(channels: int = 3, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A target and images at several distances: the target itself, noise, shifted, another, its negative."""
    target = smooth(5, channels, side, 0)
    noise = (target[1] + RANDOM.normal(0, 12, target[1].shape)).clip(0, 255)
    images = [target[0], noise, np.roll(target[2], 2, axis=2), smooth(1, channels, side, 1)[0], 255 - target[4]]
    return np.stack(images).astype(np.uint8), target


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_that_of_scikit_image(channels: int) -> None:
    images, target = pairs(channels)
    expected = [peak_signal_noise_ratio(t, x, data_range=255) for x, t in zip(images[1:], target[1:], strict=True)]
    np.testing.assert_allclose(psnr(images, target)[1:], expected, rtol=1e-12)


@pytest.mark.parametrize(("channels", "side"), [(1, 40), (3, 40), (3, 11)])
def test_ssim_is_that_of_scikit_image(channels: int, side: int) -> None:
    """Of whose options these are the published definition's; it leaves out the same border of 5 px."""
    images, target = pairs(channels, side)
    expected = [
        structural_similarity(t, x, channel_axis=0, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for x, t in zip(images, target, strict=True)
    ]
    np.testing.assert_allclose(ssim(images, target), expected, rtol=1e-9)
    assert min(expected) < 0 < max(expected)


def test_l1_of_the_whole_range() -> None:
    images, target = pairs()
    expected = [
        sum(abs(int(a) - int(b)) for a, b in zip(x.flat, t.flat, strict=True)) for x, t in zip(images, target, strict=True)
    ]
    np.testing.assert_allclose(mean_absolute_error(images, target), np.array(expected) / 255 / images[0].size, rtol=1e-12)
    black, white = np.zeros((1, 3, 4, 4), np.uint8), np.full((1, 3, 4, 4), 255, np.uint8)
    assert mean_absolute_error(black, white) == mean_absolute_error(white, black) == 1
    assert psnr(black, white) == psnr(white, black) == 0


def test_equal_images_are_as_good_as_can_be_and_finite() -> None:
    target = smooth(2, 3, 16, 3)
    one_off = target.copy()
    one_off[:, 0, 0, 0] ^= 1
    assert mean_absolute_error(target, target).tolist() == [0, 0]
    assert ssim(target, target).tolist() == [1, 1]
    np.testing.assert_allclose(psnr(target, target), 10 * math.log10(255**2 * 3 * 16 * 16), rtol=1e-12)
    assert psnr(target, target).tolist() == psnr(one_off, target).tolist() == [psnr_of_equals((3, 16, 16))] * 2
    flat = np.full((1, 1, 16, 16), 255, np.uint8)
    assert ssim(flat, flat) == 1


def test_ssim_of_flat_images_is_a_formula() -> None:
    """Without structure the second factor is 1: (2 a b + C1) / (a^2 + b^2 + C1)."""
    dark, bright = np.full((1, 1, 20, 20), 50, np.uint8), np.full((1, 1, 20, 20), 200, np.uint8)
    c1 = 2.55**2
    assert ssim(dark, bright)[0] == pytest.approx((2 * 50 * 200 + c1) / (50**2 + 200**2 + c1), rel=1e-9)


def test_a_pair_is_read_with_its_input_beside_it() -> None:
    images, target = pairs()
    given = smooth(5, 3, 40, 9)
    found = PairReader(psnr).read(Sample(images, target, given))
    assert found.dtype == np.float32 and found.shape == (5, PairReader.width)
    np.testing.assert_allclose(found, np.stack([psnr(images, target), psnr(given, target), np.ones(5)], axis=1), rtol=1e-6)
    gray = smooth(5, 1, 40, 9)
    beside = PairReader(psnr).read(Sample(images, target, gray))[:, 1]
    np.testing.assert_allclose(beside, psnr(np.repeat(gray, 3, axis=1), target), rtol=1e-6)


@pytest.mark.parametrize("given", [None, smooth(5, 3, 24, 9), np.zeros((5, 4, 40, 40), np.uint8)], ids=["none", "part", "other"])
def test_inputs_that_do_not_compare_are_left_out(given: np.ndarray | None) -> None:
    images, target = pairs()
    found = PairReader(psnr).read(Sample(images, target, given))
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[:, 1:]).all()


def test_means_and_medians_with_their_errors() -> None:
    values = RANDOM.gamma(2, size=101).astype(np.float32)
    value, error = mean(values)
    assert value == pytest.approx(values.mean(), rel=1e-6) and error == pytest.approx(values.std(ddof=1) / 101**0.5, rel=1e-6)
    value, error = median(values)
    ranked = np.sort(values)
    assert value == ranked[50]
    assert error == pytest.approx((ranked[61] - ranked[39]) / 2 / 1.96, rel=1e-6)  # the ranks 40 and 62 of 101
    assert mean(values[:1]) == (values[0], None)
    assert [median(values[:count])[1] is None for count in (1, 7, 8)] == [True, True, False]


def test_the_error_of_a_median_is_what_repeated_draws_show() -> None:
    draws = np.random.default_rng(1).lognormal(size=(400, 120))
    found = np.array([median(row) for row in draws], dtype=float)
    assert 0.85 < found[:, 1].mean() / found[:, 0].std(ddof=1) < 1.25


def test_equal_pairs_rule_the_mean_and_not_the_median() -> None:
    """4 of 100 pairs are equal, as of line drawings and their colored pictures: the mean rises by several decibels."""
    target = smooth(100, 3, 16, 5)
    images = smooth(100, 3, 16, 6)
    without = psnr(images, target)
    images[:4] = target[:4]
    with_equals = psnr(images, target)
    assert mean(with_equals)[0] - mean(without)[0] > 2
    assert abs(median(with_equals)[0] - median(without)[0]) < 0.2


def test_cosine_distances() -> None:
    one, other = RANDOM.normal(size=(2, 9, 20)).astype(np.float32)
    expected = [1 - float(np.dot(a, b)) / math.sqrt(float(np.dot(a, a) * np.dot(b, b))) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(cosine_distance(one, other), expected, rtol=1e-5)
    assert not cosine_distance(one, one).any()
    np.testing.assert_allclose(cosine_distance(one, 3 * one), 0, atol=1e-12)
    np.testing.assert_allclose(cosine_distance(one, -one), 2, rtol=1e-12)
    assert np.isfinite(cosine_distance(np.zeros_like(one), one)).all()
