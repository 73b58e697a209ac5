"""How many images of each class."""

from __future__ import annotations

import numpy as np
import pytest

from atelier.augmentation.counts import dealt, long_tail, up_to


def test_a_long_tail_falls_by_one_factor() -> None:
    assert long_tail(3, 100, 100).tolist() == [100, 10, 1]
    assert long_tail(10, 5000, 100).tolist() == [5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50]  # CIFAR-10-LT
    assert long_tail(4, 20, 1).tolist() == [20] * 4
    assert long_tail(3, 2, 100).min() == 1


@pytest.mark.parametrize("total", [0, 1, 4, 5, 11, 12, 13, 30])
def test_images_are_dealt_to_the_rarest(total: int) -> None:
    real = np.array([9, 2, 5, 2])
    added, one_by_one = dealt(real, total), real.copy()
    for _ in range(total):
        one_by_one[one_by_one.argmin()] += 1
    assert (real + added).tolist() == one_by_one.tolist()
    assert added.sum() == total


def test_classes_are_filled_up() -> None:
    assert up_to(np.array([9, 2, 5]), 5).tolist() == [0, 3, 0]
