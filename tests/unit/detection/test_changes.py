"""What is done to images before a detector sees them, beside other programs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from atelier.detection.changes import CHANGES, blur, half, jpeg, versions

RANDOM = np.random.default_rng(0)
COLOR = RANDOM.integers(0, 256, (3, 3, 20, 20), dtype=np.uint8)
GRAY = RANDOM.integers(0, 256, (2, 1, 15, 15), dtype=np.uint8)


def test_jpeg_is_that_of_a_file() -> None:
    file = io.BytesIO()
    Image.fromarray(COLOR[1].transpose(1, 2, 0)).save(file, "JPEG", quality=60)
    with Image.open(file) as read:
        assert np.array_equal(jpeg(COLOR, 60)[1], np.asarray(read).transpose(2, 0, 1))


def test_blur_is_that_of_scipy() -> None:
    expected = gaussian_filter(COLOR.astype(float), (0, 0, 1, 1), mode="reflect", truncate=3)
    assert np.abs(blur(COLOR, 1.0) - expected).max() < 0.51


def test_half_size_keeps_the_size_and_loses_what_is_fine() -> None:
    checks = np.indices((16, 16)).sum(axis=0)[None, None] % 2 * np.uint8(255)
    assert half(GRAY).shape == GRAY.shape and half(COLOR).shape == COLOR.shape
    assert half(checks.astype(np.uint8)).std() < 0.05 * checks.std()
    flat = np.full((1, 3, 9, 9), 77, np.uint8)
    assert np.array_equal(half(flat), flat)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("images", [GRAY, COLOR], ids=["gray", "color"])
def test_each_image_is_changed_by_itself(name: str, images: np.ndarray) -> None:
    done = CHANGES[name](images)
    assert done.shape == images.shape and done.dtype == np.uint8
    assert np.array_equal(done, np.concatenate([CHANGES[name](one[None]) for one in images]))
    assert np.array_equal(done, images) == (name == "plain")


def test_versions_follow_from_the_seed() -> None:
    first, again, other = (versions(COLOR, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and np.array_equal(first[0], COLOR)
    assert [np.array_equal(one, two) for one, two in zip(first, other, strict=True)] == [True, False, False, True]
