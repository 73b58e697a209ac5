"""How many images of each class: few real ones of some, and generated ones where there are fewest."""

from __future__ import annotations

import numpy as np


def long_tail(classes: int, most: int, imbalance: float) -> np.ndarray:
    """Images of each class, int64 [classes], falling by one factor from `most` to `most` / `imbalance`.

    Rounded to nearest, at least 1 (Cui et al. 2019, section 5.1).
    """
    shares = imbalance ** (-np.arange(classes) / (classes - 1))
    return np.maximum(np.rint(most * shares), 1).astype(np.int64)


def repeats(counts: np.ndarray) -> np.ndarray:
    """How often oversampling shows each image of a class, int64 [classes]."""
    return np.rint(counts.max() / np.maximum(counts, 1)).astype(np.int64)


def up_to(real: np.ndarray, most: int) -> np.ndarray:
    """Images to add to each class that has fewer than `most`, int64 [classes]."""
    return np.maximum(most - real, 0)


def dealt(real: np.ndarray, total: int) -> np.ndarray:
    """`total` images to add, dealt so that the rarest classes grow first and all end as equal as can be, int64 [classes].

    Of classes that are equal the first ones get what is left over.
    """
    level = int(real.min())
    while up_to(real, level + 1).sum() <= total:
        level += 1
    added = up_to(real, level)
    open_classes = np.flatnonzero(real + added == level)
    added[open_classes[: total - int(added.sum())]] += 1
    return added
