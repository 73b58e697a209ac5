"""The readings of a classifier of real images: of generated images, and of held-out real ones, which say how far to trust it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.identity import Measurement
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View

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
        from atelier.metrics.classifier import summarize

        classifier: Fitted = view.reader
        generated, real = summarize(view.columns), classifier.real
        held_out = {"samples": real.count, "sampling": f"real images: {classifier.held_out}"}
        measurements = [
            _share(view, CONFIDENT, generated.confident),
            _share(view, RAREST, float(generated.shares.min())),
            _share(view, REAL, real.confident, **held_out),
            _share(view, ACCURACY, classifier.accuracy, **held_out),
        ]
        if real.confident:
            measurements.insert(1, _relative(measurements[0], measurements[2]))
        return Results(measurements, class_shares=dict(zip(classifier.classes, generated.shares.tolist(), strict=True)))


def _share(view: View, value: Value, share: float, **of_real: Any) -> Measurement:
    """A share of `samples` images with its standard error; those are the generated ones unless `of_real` says otherwise."""
    from atelier.metrics.classifier import CONFIDENT

    classifier: Fitted = view.reader
    error = float(np.sqrt(share * (1 - share) / of_real.get("samples", view.count)))
    eyes = {
        "extractor": f"classifier of {len(classifier.classes)} classes",
        "weights": classifier.weights_hash,
        "resize": "none, (x - 127.5) / 127.5",
        "reference": view.real,
        "reference_count": classifier.fitted,
    }
    return view.measurement(value, share, error, f"confident above {CONFIDENT}", **eyes, **of_real)


def _relative(generated: Measurement, real: Measurement) -> Measurement:
    """The first share over the second: a classifier that hesitates over real images too says little by the first alone."""
    errors = [(one.standard_error or 0.0) / one.value if one.value else 0.0 for one in (generated, real)]
    value = generated.value / real.value
    parameters = f"{generated.identity.parameters}; over {real.identity.sampling}"
    identity = replace(generated.identity, kind=RELATIVE.kind, metric=RELATIVE.kind, parameters=parameters)
    return Measurement(value, value * math.hypot(*errors), identity, higher_is_better=True)
