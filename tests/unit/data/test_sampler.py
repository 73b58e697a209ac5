from __future__ import annotations

import itertools

import numpy as np
import pytest

from atelier.data.sampler import positions


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_each_epoch_is_a_permutation(n: int) -> None:
    stream = positions(seed=3, n=n, start=0, count=5 * n).reshape(5, n)
    assert stream.dtype == np.int64
    assert (np.sort(stream, axis=1) == np.arange(n)).all()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    epochs = positions(seed=3, n=500, start=0, count=1500).reshape(3, 500)
    others = positions(seed=4, n=500, start=0, count=1500).reshape(3, 500)
    agreement = [(a == b).mean() for a, b in itertools.combinations([*epochs, *others], 2)]
    assert max(agreement) < 0.03, "independent permutations agree in one place on average"


def test_any_slicing_of_the_stream_gives_the_same_order() -> None:
    whole = positions(seed=11, n=97, start=0, count=1000)
    rng = np.random.default_rng(0)
    for _ in range(50):
        cuts = [0, *np.sort(rng.integers(0, 1001, 6)).tolist(), 1000]
        parts = [positions(11, 97, a, b - a) for a, b in itertools.pairwise(cuts)]
        assert (np.concatenate(parts) == whole).all()
    backwards = [positions(11, 97, start, 1)[0] for start in reversed(range(1000))]
    assert (np.array(backwards[::-1]) == whole).all(), "the order in which it is asked for does not matter"


def test_the_order_is_the_same_in_every_version() -> None:
    """A resumed run must go on as it began: these numbers never change."""
    assert positions(seed=0, n=10, start=0, count=20).tolist() == GOLDEN


def test_all_orders_are_equally_likely() -> None:
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), positions(seed, 4, 0, 4)] += 1
    assert abs(counts / 2000 - 0.25).max() < 0.04, "each image at each place in a quarter of the epochs (4 sigma: 0.039)"


@pytest.mark.parametrize("arguments", [(0, 0, 0, 1), (-1, 5, 0, 1), (0, 5, -1, 1), (0, 5, 0, -1)])
def test_impossible_arguments(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        positions(*arguments)


def test_nothing_asked_nothing_given() -> None:
    assert positions(0, 5, 3, 0).shape == (0,)


GOLDEN = [0, 8, 9, 3, 7, 5, 1, 2, 6, 4, 3, 7, 4, 2, 9, 8, 1, 6, 5, 0]
