"""Squares out of whole pictures: windows that do not overlap, crops that are as likely everywhere, random words by position."""

from __future__ import annotations

import numpy as np
import pytest

from atelier.data.crops import Crops, Grid, moved
from atelier.data.sampler import positions, words

SIZES = np.array([[32, 32], [63, 65], [64, 160], [200, 97]])
LAST = np.iinfo(np.uint64).max


def grid(unit: int = 1, sizes: np.ndarray = SIZES) -> Grid:
    return Grid(sizes // unit * unit, 32, unit)


def test_a_picture_counts_as_many_records_as_windows_fit() -> None:
    assert grid().counts().tolist() == [1, 1 * 2, 2 * 5, 6 * 3] and len(grid()) == 31


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_windows_lie_in_the_middle_and_do_not_overlap(unit: int) -> None:
    one = grid(unit)
    places = one.windows(np.arange(len(one)), 32)
    for number, (height, width) in enumerate(one.sizes):
        seen = np.zeros((height, width), int)
        mine = places.pictures == number
        for top, left in zip(places.tops[mine], places.lefts[mine], strict=True):
            assert top % unit == left % unit == 0
            seen[top : top + 32, left : left + 32] += 1
        rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        assert seen.max() == 1 and seen.sum() == one.counts()[number] * 32 * 32
        assert len(rows) == rows[-1] - rows[0] + 1, "without gaps"
        for used, side in ((rows, height), (columns, width)):
            assert abs(used[0] - (side - 1 - used[-1])) <= 2 * unit - 1
    inner = one.windows(np.arange(len(one)), 16)
    assert (inner.tops - places.tops <= 8).all() and (inner.tops - places.tops > 8 - unit).all()


@pytest.mark.parametrize("unit", [1, 2])
def test_every_corner_is_as_likely(unit: int) -> None:
    one, steps = grid(unit), 4000
    uniform = np.stack([((np.arange(steps) + 0.5) / steps * 2**64).astype(np.uint64)] * 2, axis=1)
    for number, (height, width) in enumerate(one.sizes):
        records = np.flatnonzero(np.repeat(np.arange(len(SIZES)), one.counts()) == number)
        drawn = [one.drawn(np.full(steps, record), uniform, 24) for record in records]
        assert all((places.pictures == number).all() for places in drawn)
        for corners, side in (
            (np.concatenate([places.tops for places in drawn]), height),
            (np.concatenate([places.lefts for places in drawn]), width),
        ):
            counted = np.bincount(corners)[::unit]
            assert corners.max() == (side - 24) // unit * unit and not (corners % unit).any()
            expected = len(corners) / len(counted)
            assert abs(counted - expected).max() <= 1e-2 * expected + len(records)


def test_the_ends_of_the_random_words_stay_inside() -> None:
    one = grid()
    records = np.arange(len(one))
    for word in (0, LAST):
        places = one.drawn(records, np.full((len(records), 4), word, np.uint64), 32)
        size = one.sizes[places.pictures]
        assert (places.tops >= 0).all() and (places.tops + 32 <= size[:, 0]).all() and (places.lefts + 32 <= size[:, 1]).all()


def test_random_words_belong_to_positions() -> None:
    whole = words(7, 0, 50)
    assert whole.shape == (50, 4) and whole.dtype == np.uint64 and len(np.unique(whole)) == 200
    assert (np.concatenate([words(7, 0, 13), words(7, 13, 37)]) == whole).all()
    assert (words(7, 10**12, 3)[1:] == words(7, 10**12 + 1, 2)).all()
    assert not np.intersect1d(whole, words(8, 0, 50)).size
    assert not np.intersect1d(whole, words(7 + 2**32, 0, 50)).size
    assert abs((whole >> np.uint64(63)).mean() - 0.5) < 0.2, "bits that decide are fair"
    assert positions(7, 50, 0, 50).tolist() != np.argsort(whole[:, 0]).tolist(), "not those of the order"


def test_squares_are_mirrored_and_turned() -> None:
    square = np.arange(4).reshape(2, 2, 1)
    assert moved(square, 0b111, Crops())[..., 0].tolist() == [[0, 1], [2, 3]]
    assert moved(square, 0b1, Crops(flips=True))[..., 0].tolist() == [[1, 0], [3, 2]]
    assert moved(square, 0b0, Crops(flips=True))[..., 0].tolist() == [[0, 1], [2, 3]]
    assert moved(square, 0b10, Crops(turns=True))[..., 0].tolist() == [[1, 3], [0, 2]]
    both = {moved(square, word, Crops(flips=True, turns=True)).tobytes() for word in range(8)}
    assert len(both) == 8, "all that a square can be"
