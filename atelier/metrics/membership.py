"""Membership inference: how well training images are told from others by a score that an attacker can compute.

An attack scores images of both kinds, higher for what it takes to be of the training set. Its power is the area under the ROC
curve and, since an average hides what happens to a few people's images (Carlini et al. 2022, section III), the share of training
images that it finds where next to no other image is taken for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom, rankdata

from atelier.metrics.distances import nearest
from atelier.metrics.identity import MetricError

RATE = 0.001  # of false positives at which training images are counted
FEWEST = 20  # held-out images, of which half calibrate


@dataclass(frozen=True)
class Attack:
    """The scores float64 [M] of training images (members) and [H] of held-out ones (others)."""

    members: np.ndarray
    others: np.ndarray

    def auc(self) -> tuple[float, float]:
        """The share of pairs of a member and another in which the member has the higher score, a tie counting half, and its
        standard error (DeLong et al. 1988, equations 4 to 6: each image's own share is one of independent observations)."""
        members, others = len(self.members), len(self.others)
        ranks = rankdata(np.concatenate([self.members, self.others]))
        of_members = (ranks[:members] - rankdata(self.members)) / others
        of_others = 1 - (ranks[members:] - rankdata(self.others)) / members
        variance = of_members.var(ddof=1) / members + of_others.var(ddof=1) / others
        return float(of_members.mean()), float(np.sqrt(variance))

    def found(self, rate: float = RATE) -> tuple[float, float]:
        """The share of members with a score above that of all others but a share of `rate`, and its standard error.

        The error is the larger side of a 95 % interval, over 1.96. Of the others Binomial(H, rate) lie above the threshold that
        is meant, which bounds it by two of their scores, or by one: of less than 1 / rate others the highest score may lie below
        it, and the interval reaches down to 0.
        """
        ranked = np.sort(self.others)[::-1]
        value = self._above(ranked[self.allowed(rate)])
        fewest, most = (int(binom.ppf(side, len(ranked), rate)) for side in (0.025, 0.975))
        high = self._above(ranked[min(most, len(ranked) - 1)])
        low = self._above(ranked[fewest - 1]) if fewest else 0.0
        sides = (abs(edge - value) + 1.96 * np.sqrt(edge * (1 - edge) / len(self.members)) for edge in (low, high))
        return value, float(max(sides) / 1.96)

    def allowed(self, rate: float = RATE) -> int:
        """How many of the others may be taken for members."""
        return int(rate * len(self.others))

    def bound(self, rate: float = RATE) -> float:
        """The share of false positives that so many images cannot exclude, at 95 %: 3 / H where none is allowed."""
        allowed = self.allowed(rate)
        return float(beta.ppf(0.95, allowed + 1, len(self.others) - allowed))

    def _above(self, threshold: float) -> float:
        return float((self.members > threshold).mean())


def halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `count` held-out images that calibrate an attack, and of those that it is tried on: halves, drawn with `seed`.

    Raises MetricError where there are too few.
    """
    if count < FEWEST:
        raise MetricError(
            f"membership needs at least {FEWEST} held-out images, and there are {count}; raise data.NAME.holdout, or give more"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def by_distance(
    generated: np.ndarray, training: np.ndarray, calibrating: np.ndarray, others: np.ndarray
) -> tuple[Attack, Attack]:
    """The attacks of whoever has generated images alone, by features [N, d], [M, d], [R, d] and [H, d].

    An image that is nearer to the nearest generated image than to the nearest of real ones that calibrate was rather trained on:
    what is near to everything is no member for that (Chen et al. 2020, GAN-Leaks, attack calibration). The first attack scores by
    the difference of the squared distances, as there, and has the larger area under its curve. The second one scores by their
    ratio, by which a copy stands out wherever it lies, and finds more where no false ones are allowed.
    """
    sides = [[nearest(one, to, 1)[1][:, 0] for to in (calibrating, generated)] for one in (training, others)]
    differences = Attack(*(real - own for real, own in sides))
    ratios = Attack(*(np.divide(real, own, out=np.where(real > 0, np.inf, 1.0), where=own > 0) for real, own in sides))
    return differences, ratios


def by_logit(logits: tuple[np.ndarray, np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Attack:
    """The attack of whoever has the discriminator's weights (LOGAN, Hayes et al. 2019, section 4.1): its logits rank members.

    `logits` [M], [R], [H] and `labels` are those of training, calibrating and other images. A logit counts from the mean of the
    calibrating images of its label, or of all where there is none of it: of some objectives it is known up to a constant alone.
    """
    mean = {int(label): float(logits[1][labels[1] == label].mean()) for label in np.unique(labels[1])}
    whole = float(logits[1].mean())
    centers = (np.array([mean.get(int(label), whole) for label in own]) for own in (labels[0], labels[2]))
    members, others = (one.astype(np.float64) - center for one, center in zip((logits[0], logits[2]), centers, strict=True))
    return Attack(members, others)
