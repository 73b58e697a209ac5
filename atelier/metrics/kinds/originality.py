"""How original generated images are: far from all training images, real-like or not, of a class or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

if TYPE_CHECKING:
    from atelier.metrics.classifier import Classifier
    from atelier.metrics.originality import Familiar

REAL_LIKE = "as far as images are real-like"
MEAN = Value("originality", "Originality (a new real image has about 1)", higher_is_better=True, proviso=REAL_LIKE)
LOW = Value("originality_p10", "Originality that 90% of its images exceed", higher_is_better=True, proviso=REAL_LIKE)
HIGH = Value("originality_p90", "Originality that 10% of its images exceed", higher_is_better=True, proviso=REAL_LIKE)
UNCLASSIFIABLE = Value(
    "unclassifiable",
    "Unclassifiable: novel, neither real-like nor of a class",
    higher_is_better=True,
    form="share",
    proviso="where images like no others are looked for",
)


class Originality(Metric):
    title = "distance from the training images, and what is neither real-like nor of a class"
    values = (MEAN, LOW, HIGH, UNCLASSIFIABLE)
    needs = frozenset({Need.REAL_FEATURES, Need.HELD_OUT})

    def reader(self, real: RealImages) -> Reader | None:
        from atelier.data.packed import PackedDataset
        from atelier.metrics.classifier import load_classifier

        if len(real.dataset.classes) < 2:
            return None
        trained = real.dataset if real.dataset.split == "train" else PackedDataset(real.dataset.folder, "train")
        return load_classifier(trained, real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.classifier import CONFIDENT
        from atelier.metrics.originality import NEIGHBORS, RARE, Familiar, ambiguity, originality
        from atelier.metrics.reference import reference_indices

        training = view.trained.features
        drawn = reference_indices(len(training), view.seed, cap=view.count)
        familiar: Familiar = view.once("originality", lambda: Familiar.of(training, view.held_out.features, drawn))
        novelty, probabilities = familiar.novelty(view.features), view.columns if view.reader else None
        scores = originality(novelty, None if probabilities is None else ambiguity(probabilities))
        strange = (novelty > familiar.novel) & (familiar.realism(view.features) < familiar.real_like)
        if probabilities is not None:
            strange &= probabilities.max(axis=1) <= CONFIDENT
        count, share = len(scores), float(strange.mean())
        how = f"nearest of the training images, by the median of {view.held_out.count} held-out ones{_read(view.reader)}"
        beyond = f"beyond {1 - RARE:.0%} of those; realism of {len(drawn)} images, {NEIGHBORS} neighbours{_read(view.reader)}"
        low, high = np.quantile(scores, [0.1, 0.9])
        error = float(scores.std(ddof=1) / np.sqrt(count)) if count > 1 else None
        measured = [
            view.measurement(MEAN, float(scores.mean()), error, how),
            view.measurement(LOW, float(low), None, how),
            view.measurement(HIGH, float(high), None, how),
            view.measurement(UNCLASSIFIABLE, share, float(np.sqrt(share * (1 - share) / count)), beyond),
        ]
        return Results(measured, of_each={measured[0].name: scores.astype(np.float32)})


def _read(classifier: Classifier | None) -> str:
    """What an identity says of the classifier that has read the images, if there is one."""
    return f"; read by a classifier of {len(classifier.classes)} classes, {classifier.weights_hash}" if classifier else ""
