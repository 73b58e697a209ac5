"""Originality: how far an image is from all training images, and how undecided a classifier is about it.

Everything is relative to real images that were held out from training: a novelty of 1 is that of a new real image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from atelier.metrics.distances import Pairs, nearest
from atelier.metrics.identity import MetricError

NEIGHBORS = 3  # of the realism score (Kynkäänniemi et al. 2019, section 3.4)
RARE = 0.05  # share of held-out real images that are as novel, or as little real-like, as what counts as such


@dataclass(frozen=True)
class Familiar:
    """The features of real images, as what novelty and realism are measured by.

    `training` [M, d]; `typical` is the median distance of a held-out image from the nearest of them. `centers` [m, d] and squared
    `radii` [m] are the balls of the realism score. 5 % of held-out images have a novelty above `novel`, and 5 % have a realism
    score below `real_like`; `scores` are the realism scores of all of them, sorted.
    """

    training: np.ndarray
    typical: float
    novel: float
    centers: np.ndarray
    radii: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, training: np.ndarray, held_out: np.ndarray, drawn: np.ndarray) -> Self:
        """From features of training [M, d] and held-out images [H, d]; `drawn` int64 [m] are the rows that get balls.

        Half of the balls, those with the largest radii, are left out, as in the paper: of outliers they reach anywhere. Raises
        MetricError where there are too few images, or half of the held-out ones are copies of training images.
        """
        if len(drawn) <= NEIGHBORS or not len(held_out):
            raise MetricError(
                f"originality needs more than {NEIGHBORS} training images and some held out, and there are {len(drawn)} and "
                f"{len(held_out)}; add images, or raise data.NAME.holdout"
            )
        away = np.sqrt(nearest(held_out, training, 1)[1][:, 0])
        typical = float(np.median(away))
        if typical == 0:
            raise MetricError(
                "half of the held-out images are copies of training images, by which no novelty can be measured; pack the set "
                "again without copies"
            )
        among = training[drawn]
        radii = nearest(among, among, NEIGHBORS + 1)[1][:, -1]
        kept = np.argsort(radii, kind="stable")[: -(-len(radii) // 2)]
        novel = float(np.quantile(away / typical, 1 - RARE))
        found = cls(training, typical, novel, among[kept], radii[kept], np.empty(0))
        object.__setattr__(found, "scores", np.sort(found.realism(held_out)))
        return found

    @property
    def real_like(self) -> float:
        """The realism score that all but 5 % of held-out images reach."""
        return self.bound(RARE)

    def bound(self, share: float) -> float:
        """The realism score below which this share of held-out images lies; 0 for a share of 0."""
        return float(np.quantile(self.scores, share)) if share else 0.0

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """float64 [N]: the distance of features [N, d] from the nearest training image, that of a new real image being 1."""
        away: np.ndarray = np.sqrt(nearest(features, self.training, 1)[1][:, 0])
        return away / self.typical

    def realism(self, features: np.ndarray) -> np.ndarray:
        """float64 [N]: the realism score of features [N, d] (Kynkäänniemi et al. 2019, equation 3).

        The largest ratio, over real images, of the radius of the image's ball (up to its third neighbor) to the distance from it:
        1 or more inside of a ball. Of a copy it is as large as rounding leaves it.
        """
        scores = np.empty(len(features))
        for block in Pairs(features, self.centers).blocks():
            squares = np.maximum(block.products, max(block.error, np.finfo(np.float64).tiny))
            scores[block.rows] = np.sqrt((self.radii / squares).max(axis=1))
        return scores


def ambiguity(probabilities: np.ndarray) -> np.ndarray:
    """float64 [N] in [0, 1]: the entropy of class posteriors [N, K], relative to that of K equal ones.

    What the style ambiguity loss of CAN drives to 1 (Elgammal et al. 2017, equation 2, which has the cross-entropy with equal
    posteriors in its place).
    """
    known = np.asarray(probabilities, np.float64)
    parts = np.where(known > 0, -known * np.log(np.where(known > 0, known, 1)), 0.0)
    entropy: np.ndarray = parts.sum(axis=1)
    return entropy / np.log(known.shape[1])


def originality(novelty: np.ndarray, ambiguous: np.ndarray | None) -> np.ndarray:
    """float64 [N]: novelty and, where a classifier has read the images, its ambiguity, added as CAN adds its two losses."""
    return novelty if ambiguous is None else novelty + ambiguous
