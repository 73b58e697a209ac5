"""The protocol of the study: which images are for what, and what every generator and classifier is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from atelier.augmentation.counts import dealt, long_tail, repeats
from atelier.augmentation.ways import Way, ways
from atelier.data.packed import PackedDataset
from atelier.data.repack import Labelled, labelled
from atelier.errors import AtelierError
from atelier.metrics.fitting import BATCH

VALIDATION_SEED = 2**31  # a stream of its own beside those of generators, which count from 0


class StudyError(AtelierError):
    """A study that cannot be made of these images, or with these numbers."""


@dataclass(frozen=True)
class Protocol:
    """What is varied, and how often.

    `images` are numbers of real images of the largest class; the rarest has 1 / `imbalance` of them. `ratios` are numbers of
    generated images for each real one. Each of `generators` seeds draws real images of its own, on which its generator and all
    classifiers of its cells are fitted; there are `classifiers` seeds for each, of `steps` steps. `validation` images of each
    class choose the strength of augmentation and the baseline.
    """

    images: tuple[int, ...] = (10, 20, 50, 100)
    imbalance: float = 1.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    generators: int = 5
    classifiers: int = 5
    steps: int = 300
    validation: int = 50

    @property
    def ways(self) -> list[Way]:
        """All that are compared."""
        return ways(list(self.ratios), self.imbalance == 1)

    def counts(self, images: int, classes: int, seed: int) -> np.ndarray:
        """Real images of each class, int64 [classes]; which are the rare ones, the generator's seed says."""
        order = np.random.default_rng([seed, 1]).permutation(classes)
        counts = np.empty(classes, np.int64)
        counts[order] = long_tail(classes, images, self.imbalance)
        return counts

    def generated(self, counts: np.ndarray, ratio: float) -> np.ndarray:
        """Generated images of each class beside these real ones, int64 [classes]: the rarest classes are filled up first."""
        return dealt(counts, round(ratio * int(counts.sum())))

    def pool(self, counts: np.ndarray) -> np.ndarray:
        """As many of each class as any ratio takes, int64 [classes]."""
        return np.max([self.generated(counts, ratio) for ratio in self.ratios], axis=0)

    def check(self, images: Images) -> None:
        """Raises StudyError with what to change where the images are too few, or a number says nothing."""
        if min(self.images) < 1 or self.imbalance < 1 or not self.ratios or min(self.ratios) <= 0:
            raise StudyError(
                "the study needs numbers of images from 1 on, an imbalance of 1 or more and ratios above 0; correct them"
            )
        if self.generators < 2 or self.classifiers < 1 or self.validation < 1:
            raise StudyError(
                "differences are tested over seeds; give 2 generators or more, and 1 classifier and validation image or more"
            )
        classes = len(images.classes)
        fewest = int(np.bincount(images.training.labels, minlength=classes).min())
        if fewest < self.validation + max(self.images):
            raise StudyError(
                f"{images.folder}: its rarest class has {fewest} images for training, and {max(self.images)} real and "
                f"{self.validation} for validation are asked for; lower one of them"
            )
        if missing := [images.classes[label] for label in range(classes) if label not in images.test.labels]:
            raise StudyError(
                f"{images.folder}: no image of {', '.join(missing)} is held out; raise data.NAME.holdout and pack again"
            )
        for most in self.images:
            counts = self.counts(most, classes, 0)
            real = int(counts.sum())
            shown = max(real + round(max(self.ratios) * real), int((counts * repeats(counts)).sum()))
            if shown > self.steps * BATCH:
                raise StudyError(f"{self.steps} steps of {BATCH} do not reach each of {shown} images once; raise the steps")


class Images:
    """A packed set, cut: `training` is its training split without the `validation` images, `test` its held-out images.

    No generator, classifier or choice ever sees those of `test`.
    """

    def __init__(self, folder: Path) -> None:
        self.dataset = PackedDataset(folder)
        self.folder, self.classes = self.dataset.folder, self.dataset.classes
        self.training = labelled(self.dataset)
        self.test = labelled(PackedDataset(folder, "test"))

    def validation(self, protocol: Protocol) -> Labelled:
        """The images that choose: as many of each class."""
        return self.training.at(self._validating(protocol))

    def real(self, protocol: Protocol, images: int, seed: int) -> Labelled:
        """The few real images of a generator's seed; those of a smaller number are among those of a larger one."""
        counts = protocol.counts(images, len(self.classes), seed)
        return self.training.at(self._drawn(seed, counts, self._validating(protocol)))

    def _validating(self, protocol: Protocol) -> np.ndarray:
        counts = np.full(len(self.classes), protocol.validation)
        return self._drawn(VALIDATION_SEED, counts, without=np.empty(0, np.int64))

    def _drawn(self, seed: int, counts: np.ndarray, without: np.ndarray) -> np.ndarray:
        """Places of as many images of each class."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.training.labels))
        order, labels = order[~np.isin(order, without)], self.training.labels
        return np.concatenate([order[labels[order] == label][:count] for label, count in enumerate(counts)])


@lru_cache(maxsize=1)
def opened(folder: Path) -> Images:
    """The images of a folder, read once in the life of a process."""
    return Images(folder)
