"""What a classifier reads in generated images and in held-out real ones, as numbers with their identities."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from atelier.metrics.classifier import CONFIDENT, Classifier, Reading
from atelier.metrics.identity import Identity, Measurement


def readings(classifier: Classifier, found: Reading, sampling: str, images: str, seed: int) -> list[Measurement]:
    """Shares of the generated images in `found`, and of real ones, which say how far the classifier is to be trusted.

    `images` is content hash and split of the set it has learnt from, `sampling` where the generated images come from.
    """
    real = classifier.real
    generated = (found.count, sampling)
    held_out = (real.count, f"real images: {classifier.held_out}")
    values = [
        ("classifier_confident", found.confident, *generated),
        ("class_share_min", float(found.shares.min()), *generated),
        ("classifier_real", real.confident, *held_out),
        ("classifier_accuracy", classifier.accuracy, *held_out),
    ]
    measurements = [
        Measurement(
            value, float(np.sqrt(value * (1 - value) / count)), _identity(classifier, name, count, how, images, seed), True
        )
        for name, value, count, how in values
    ]
    if real.confident:
        measurements.insert(1, _relative(measurements[0], measurements[2]))
    return measurements


def _relative(generated: Measurement, real: Measurement) -> Measurement:
    """The first share over the second: a classifier that hesitates over real images too says little by the first alone."""
    errors = [(one.standard_error or 0.0) / one.value if one.value else 0.0 for one in (generated, real)]
    value = generated.value / real.value
    parameters = f"{generated.identity.parameters}; over {real.identity.sampling}"
    identity = replace(generated.identity, metric="classifier_relative", parameters=parameters)
    return Measurement(value, value * math.hypot(*errors), identity, higher_is_better=True)


def _identity(classifier: Classifier, name: str, count: int, sampling: str, images: str, seed: int) -> Identity:
    return Identity(
        metric=name,
        extractor=f"classifier of {len(classifier.classes)} classes",
        weights=classifier.weights_hash,
        resize="none, (x - 127.5) / 127.5",
        samples=count,
        sampling=sampling,
        reference=images,
        reference_count=classifier.fitted,
        seed=seed,
        parameters=f"confident above {CONFIDENT}",
    )
