"""The readings of a classifier of real images: of generated images, and of held-out real ones, which say how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View
from atelier.metrics.readings import of_held_out, read_share, relative

if TYPE_CHECKING:
    from atelier.metrics.classifier import Classifier as Fitted

CONFIDENT = Value("classifier_confident", "Read with confidence above 0.9", higher_is_better=True, form="share")
RELATIVE = Value(
    "classifier_relative", "Read with confidence, relative to held-out real images", higher_is_better=True, form="ratio"
)
RAREST = Value(
    "class_share_min",
    "Share of the rarest class",
    higher_is_better=True,
    form="share",
    limit="min_class_share",
    limit_text="share of its rarest class, below which it has collapsed",
)
REAL = Value(
    "classifier_real",
    "Held-out real images read with confidence above 0.9",
    higher_is_better=True,
    form="share",
    subject="classifier",
)
ACCURACY = Value(
    "classifier_accuracy",
    "Accuracy of the classifier on held-out real images",
    higher_is_better=True,
    form="share",
    subject="classifier",
)


class Classifier(Metric):
    title = "shares that a classifier of the real images reads, needs labels"
    values = (CONFIDENT, RELATIVE, RAREST, REAL, ACCURACY)
    needs = frozenset({Need.LABELS})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.classifier import load_classifier

        return load_classifier(real.dataset, real.cache, real.seed, real.progress)

    def __call__(self, view: View) -> Results:
        from atelier.metrics.classifier import CONFIDENT as LEAST
        from atelier.metrics.classifier import summarize

        classifier: Fitted = view.reader
        generated, real = summarize(view.columns), classifier.real
        confident = f"confident above {LEAST}"
        held_out = of_held_out(classifier)
        measurements = [
            read_share(view, CONFIDENT, generated.confident, confident),
            read_share(view, RAREST, float(generated.shares.min()), confident),
            read_share(view, REAL, real.confident, confident, **held_out),
            read_share(view, ACCURACY, classifier.accuracy, confident, **held_out),
        ]
        if real.confident:
            over_real = f"{confident}; over {measurements[2].identity.sampling}"
            measurements.insert(1, relative(RELATIVE, measurements[0], measurements[2], over_real))
        return Results(measurements, class_shares=dict(zip(classifier.classes, generated.shares.tolist(), strict=True)))
