"""A search of a generator's codes for its most original images that are still acceptable.

Novel is what is far from every training image; ambiguous what a classifier cannot read; acceptable what is as real-like as most
held-out images are, by the realism score of its features and, where the checkpoint has one, by the discriminator's logit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from atelier.extractors.base import Extractor
from atelier.io.progress import bar
from atelier.latent.breeding import Individuals, crossed, genes, mutated
from atelier.latent.edits import synthesized
from atelier.metrics.classifier import CONFIDENT, Classifier
from atelier.metrics.originality import Familiar, ambiguity, originality
from atelier.models.model import GeneratorError, draw_latents
from atelier.networks.base import Discriminator, LatentGenerator
from atelier.tasks.sampling import Sample
from atelier.training.judge import logits_of

RANDOM = 0.25  # share of the images that are drawn at random, to begin with
LARGEST, SMALLEST = 0.5, 0.1  # mutations at the beginning and at the end
OWN = 0.9  # share of its genes that a child has of its first parent


@dataclass(frozen=True)
class Candidates:
    """N codes with their images uint8 [N, C, H, W], features [N, d] and what is thought of them, [N] each.

    `labels` int64 are None without classes, `logits` without a discriminator, `probabilities` [N, K] without a classifier.
    `acceptable` is bool.
    """

    codes: Tensor
    images: np.ndarray
    features: np.ndarray
    novelty: np.ndarray
    realism: np.ndarray
    acceptable: np.ndarray
    labels: Tensor | None = None
    logits: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    @property
    def ambiguity(self) -> np.ndarray | None:
        """[N] in [0, 1]: how undecided the classifier is."""
        return None if self.probabilities is None else ambiguity(self.probabilities)

    @property
    def originality(self) -> np.ndarray:
        """[N]: novelty and ambiguity."""
        return originality(self.novelty, self.ambiguity)

    @property
    def rejected(self) -> np.ndarray | None:
        """bool [N]: whether the classifier calls an image of no class, as sure as it is in `evaluate`."""
        return None if self.probabilities is None else self.probabilities.max(axis=1) <= CONFIDENT

    def __getitem__(self, rows: np.ndarray) -> Self:
        """Those of these rows, in that order."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        picked: dict[str, Any] = {
            name: value[torch.from_numpy(rows).to(value.device)] if isinstance(value, Tensor) else value[rows]
            for name, value in values.items()
            if value is not None
        }
        return replace(self, **picked)

    @property
    def individuals(self) -> Individuals:
        """As parents of further ones."""
        return Individuals(self.codes, self.labels, [str(index) for index in range(len(self.codes))])


@dataclass(frozen=True)
class Judge:
    """What looks at images: features, real images and, where there are any, a discriminator and a classifier.

    Acceptable are images with a realism score and a logit of at least `least_realism` and `least_logit`.
    """

    generator: LatentGenerator
    extractor: Extractor
    familiar: Familiar
    least_realism: float
    discriminator: Discriminator | None = None
    least_logit: float = -np.inf
    classifier: Classifier | None = None

    def __call__(self, codes: Tensor, labels: Tensor | None) -> Candidates:
        """The candidates of codes [N, parts, width]."""
        images = synthesized(self.generator, codes, labels)
        features = self.extractor.features(images)
        realism = self.familiar.realism(features)
        acceptable, logits = realism >= self.least_realism, None
        if self.discriminator is not None:
            logits = logits_of(self.discriminator, images, labels).double().numpy()
            acceptable &= logits >= self.least_logit
        read = self.classifier.read(Sample(images)) if self.classifier else None
        return Candidates(codes, images, features, self.familiar.novelty(features), realism, acceptable, labels, logits, read)


@dataclass(frozen=True)
class Found:
    """The most original acceptable images, best first, and how the search went.

    `begun` are the acceptable ones of the images that were drawn at random, as many and best first; `accepted` is their share.
    """

    best: Candidates
    begun: Candidates
    accepted: float


def explore(judge: Judge, count: int, budget: int, seed: int, label: int | None = None) -> Found:
    """Looks at `budget` images: a quarter is drawn at random, the others are children of the best.

    Each of the best `count` has children, with nine tenths of its genes and the others of another one, mutated less and less. Of
    parents and children the most original acceptable ones live on (the plus strategy of evolution, Beyer and Schwefel 2002,
    section 2), but of variants of one image the best alone. Raises GeneratorError where no image at random is acceptable.
    """
    generator, random = judge.generator, torch.Generator().manual_seed(seed)
    with bar("explore", budget, True) as progress:
        parts = []
        for part in _chunks(max(count, round(RANDOM * budget)), count):
            latents, labels = draw_latents(generator.latent_dim, generator.shape.classes, part, _next(random))
            device = next(generator.parameters()).device
            if labels is not None:
                labels = (labels if label is None else torch.full_like(labels, label)).to(device)
            with torch.no_grad():
                parts.append(judge(generator.code(latents.to(device), labels), labels))
            progress.update(part)
        everything = _joined(parts)
        accepted = float(everything.acceptable.mean())
        best = begun = _best(everything, count, judge.familiar)
        done = len(everything.images)
        while done + count <= budget:
            share = (done - len(everything.images)) / max(budget - len(everything.images), 1)
            children = judge(*_children(generator, best, count, LARGEST + (SMALLEST - LARGEST) * share, random))
            best = _best(_joined([best, children]), count, judge.familiar)
            done += count
            progress.update(count)
    return Found(best, begun, accepted)


def _children(
    generator: LatentGenerator, parents: Candidates, count: int, mutation: float, random: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Codes and labels of `count` children: each parent in turn is the first of one, which has its label."""
    first = torch.arange(count) % len(parents.codes)
    other = torch.randint(len(parents.codes), (count, 1), generator=random)
    own = torch.rand(count, len(genes(*parents.codes.shape[1:])), generator=random) < OWN
    inherited = torch.where(own, first[:, None], other).to(parents.codes.device)
    labels = None if parents.labels is None else parents.labels[first.to(parents.labels.device)]
    return mutated(generator, crossed(parents.codes, inherited), labels, mutation, random), labels


def _best(of: Candidates, count: int, familiar: Familiar) -> Candidates:
    """The most original acceptable ones, best first, at most `count`, none of which is a variant of a better one.

    A variant is nearer to it than a new real image is to training, or than half of its own distance from training.
    """
    rows = np.flatnonzero(of.acceptable)
    if not len(rows):
        raise GeneratorError(
            f"none of {len(of.images)} images is as real-like as held-out images are; train longer, or lower --accept (0: all)"
        )
    kept: list[int] = []
    for row in rows[np.argsort(-of.originality[rows], kind="stable")]:
        away = np.linalg.norm(of.features[kept] - of.features[row], axis=1)
        if len(kept) < count and (away >= familiar.typical * max(1.0, of.novelty[row] / 2)).all():
            kept.append(int(row))
    return of[np.array(kept)]


def _joined(parts: list[Candidates]) -> Candidates:
    values = {one.name: [getattr(part, one.name) for part in parts] for one in fields(Candidates)}
    joined: dict[str, Any] = {
        name: None if each[0] is None else torch.cat(each) if isinstance(each[0], Tensor) else np.concatenate(each)
        for name, each in values.items()
    }
    return Candidates(**joined)


def _chunks(total: int, size: int) -> Iterator[int]:
    for start in range(0, total, size):
        yield min(size, total - start)


def _next(random: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=random))
