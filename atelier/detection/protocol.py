"""Leave one family out: a detector learns from the generators of all others, and is measured on those, which it has never seen.

Real images are of the same set, on both sides: the training split to learn from, the held-out one to measure. What is done to
images (changes.py) is done to both sides alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atelier.detection import curves
from atelier.detection.changes import CHANGES, versions
from atelier.detection.detectors import Detector

VALIDATED = 0.15  # share of what could be learnt from, by whose real images the threshold is set
PLAIN = next(iter(CHANGES))


@dataclass(frozen=True)
class Pictures:
    """Images of one origin, uint8 [N, C, H, W]: those to learn from, and others to measure with."""

    learnt: np.ndarray
    tested: np.ndarray


def most_learnt(real: int, families: Mapping[str, str]) -> int:
    """Images of each generator that are learnt from beside so many real ones, of whichever family is left out."""
    return max(learnt_of_each(real, len(others_of(name, families))) for name in families)


def others_of(name: str, families: Mapping[str, str]) -> list[str]:
    """The generators that are not of the family of this one; `families` by generator."""
    return [other for other, family in families.items() if family != families[name]]


@dataclass(frozen=True)
class Seen:
    """What a detector sees of the images of one origin: rows [V, N, ...] to learn from, rows of those measured by change."""

    learnt: np.ndarray
    tested: Mapping[str, np.ndarray]

    @property
    def parted(self) -> int:
        """How many of the first ones are learnt from, where those behind them set the threshold."""
        return self.learnt.shape[1] - int(VALIDATED * self.learnt.shape[1])

    @property
    def validating(self) -> np.ndarray:
        """Rows by which the threshold is set, of all versions."""
        held = self.learnt[:, self.parted :]
        return held.reshape(-1, *held.shape[2:])


@dataclass(frozen=True)
class Fitted:
    """A detector that has learnt, and the score above which an image is taken for a generated one."""

    detector: Detector
    threshold: float


@dataclass(frozen=True)
class Unseen:
    """What a detector says of a generator that it has not seen, by change: scores of real and of generated images, float64 [N].

    `threshold` was set without any of them.
    """

    threshold: float
    real: Mapping[str, np.ndarray]
    generated: Mapping[str, np.ndarray]

    def auc(self, change: str) -> float:
        """Area under the ROC curve."""
        return curves.auc(self.real[change], self.generated[change])

    def false_positives(self, change: str) -> float:
        """Share of real images above the threshold."""
        return float((self.real[change] > self.threshold).mean())

    def found(self, change: str) -> float:
        """Share of generated images above the threshold."""
        return float((self.generated[change] > self.threshold).mean())


@dataclass(frozen=True)
class Result:
    """A detector under the protocol: what it says of each generator when those of its family were left out."""

    title: str
    kind: str
    unseen: Mapping[str, Unseen]

    def mean_auc(self, change: str = PLAIN) -> float:
        """Mean over the generators."""
        return float(np.mean([one.auc(change) for one in self.unseen.values()]))

    def mean_false_positives(self, change: str = PLAIN) -> float:
        """Mean over the generators, of the detectors that have not seen them."""
        return float(np.mean([one.false_positives(change) for one in self.unseen.values()]))

    def mean_found(self, change: str = PLAIN) -> float:
        """Mean over the generators."""
        return float(np.mean([one.found(change) for one in self.unseen.values()]))


def learnt_of_each(real: int, generators: int) -> int:
    """Images of each generator that are learnt from beside so many real ones, those of the threshold included."""
    return max((real - int(VALIDATED * real)) // generators, 1)


def prepared(origins: Mapping[str, Pictures], seed: int) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """Of each origin by name: the versions of what is learnt from, and those measured by change."""
    learnt = {name: versions(one.learnt, seed + place) for place, (name, one) in enumerate(origins.items())}
    tested = {name: {change: do(one.tested) for change, do in CHANGES.items()} for name, one in origins.items()}
    return learnt, tested


def seen(detector: Detector, learnt: Mapping[str, np.ndarray], tested: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Seen]:
    """What a detector sees of prepared images, by origin."""
    return {
        name: Seen(np.stack([detector.rows(one) for one in learnt[name]]), {c: detector.rows(one) for c, one in changed.items()})
        for name, changed in tested.items()
    }


def fitted(detector: Detector, real: Seen, generated: Sequence[Seen], rate: float, seed: int, progress: bool = True) -> Fitted:
    """The detector after learning from real images and as many generated ones, each generator's share alike.

    At most the share `rate` of real images that were held out from learning, in all versions, is above its threshold.
    """
    share = learnt_of_each(real.learnt.shape[1], len(generated))
    made = np.concatenate([one.learnt[:, :share] for one in generated], axis=1)
    done = detector.learn(real.learnt[:, : real.parted], made, seed, progress)
    return Fitted(done, curves.threshold(done.scores(real.validating), rate))


def measured(
    detector: Detector,
    real: Seen,
    generated: Mapping[str, Seen],
    families: Mapping[str, str],
    rate: float,
    seed: int,
    progress: bool = True,
) -> Result:
    """The detector with each family left out in turn, and measured on its generators. `families` by generator, two at least."""
    unseen: dict[str, Unseen] = {}
    for family in dict.fromkeys(families.values()):
        left = [name for name in generated if families[name] == family]
        others = [generated[name] for name in others_of(left[0], families)]
        done = fitted(detector, real, others, rate, seed, progress)
        scores = {change: done.detector.scores(rows) for change, rows in real.tested.items()}
        for name in left:
            found = {change: done.detector.scores(rows) for change, rows in generated[name].tested.items()}
            unseen[name] = Unseen(done.threshold, scores, found)
    return Result(detector.title, detector.kind, unseen)
