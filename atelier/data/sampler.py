"""The order of images, and the random words of each: pure functions of (seed, position), so that a resumed run goes on exactly.

The stream of positions 0, 1, 2, … is cut into epochs of n; epoch e shows every image once, in a permutation that depends on
(seed, n, e) alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

CROPS, CHOICES = 1, 2  # the places of these words beside the permutations, which have none


def positions(seed: int, n: int, start: int, count: int) -> np.ndarray:
    """Indices in [0, n) of the images at stream positions start … start + count - 1, as int64 [count].

    Raises ValueError for n < 1 or a negative seed, start or count.
    """
    if n < 1 or seed < 0 or start < 0 or count < 0:
        raise ValueError(f"positions(seed={seed}, n={n}, start={start}, count={count}): n >= 1 and no negative number")
    order = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        epoch, offset = divmod(start + filled, n)
        taken = min(n - offset, count - filled)
        order[filled : filled + taken] = _permutation(seed, n, epoch)[offset : offset + taken]
        filled += taken
    return order


def words(seed: int, start: int, count: int, use: int = CROPS) -> np.ndarray:
    """Random words of the stream positions start … start + count - 1, uint64 [count, 4]: a function of (seed, position, use)."""
    key = np.random.SeedSequence(seed, spawn_key=(use,)).generate_state(2, np.uint64)
    return np.random.Philox(key=key, counter=start).random_raw(4 * count).reshape(count, 4)  # a step of the counter is four words


@lru_cache(maxsize=2)
def _permutation(seed: int, n: int, epoch: int) -> np.ndarray:
    """Sorts raw Philox words. Their stream is fixed for good (NEP 19), which numpy's own shuffling is not."""
    words = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(n)
    permutation = np.argsort(words, kind="stable")
    permutation.flags.writeable = False
    return permutation
