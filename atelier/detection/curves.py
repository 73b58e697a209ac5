"""How well scores tell generated images from real ones: the higher a score, the more an image looks generated."""

from __future__ import annotations

import numpy as np

Point = tuple[float, float]


def auc(real: np.ndarray, generated: np.ndarray) -> float:
    """The area under the ROC curve: the share of pairs in which the generated image has the higher score, ties counting half.

    Mann and Whitney 1947; scores float [N] and [M]. 0.5 is chance, 1 is perfect.
    """
    ordered = np.sort(real)
    below, not_above = (np.searchsorted(ordered, generated, side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(real)))


def roc(real: np.ndarray, generated: np.ndarray) -> list[Point]:
    """The ROC curve: (share of real, share of generated images above a threshold), from (0, 0) to (1, 1), a point a threshold."""
    thresholds = np.unique(np.concatenate([real, generated]))[::-1]
    sides = [1 - np.searchsorted(np.sort(one), thresholds, "left") / len(one) for one in (real, generated)]
    return [(0.0, 0.0), *zip(*(side.tolist() for side in sides), strict=True)]


def threshold(real: np.ndarray, rate: float) -> float:
    """The lowest of the scores of real images above which at most the share `rate` of them lies."""
    ordered = np.sort(real)
    return float(ordered[len(ordered) - 1 - int(rate * len(ordered))])
