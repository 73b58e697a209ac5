"""Shares of images that a classifier of real ones reads, with what they were measured by."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atelier.config.metrics import Value
from atelier.metrics.identity import Measurement
from atelier.metrics.metric import View

if TYPE_CHECKING:
    from atelier.metrics.classifier import Classifier


PROBABLE, OVER_REAL = "the most probable class", "over that of held-out real images"


def of_held_out(classifier: Classifier) -> dict[str, Any]:
    """The samples and sampling of what a classifier reads in real images that it did not learn from."""
    return {"samples": classifier.real.count, "sampling": f"real images: {classifier.held_out}"}


def read_share(view: View, value: Value, share: float, parameters: str, **of_others: Any) -> Measurement:
    """A share with its standard error, of the images that are measured unless `of_others` names other samples and sampling."""
    classifier: Classifier = view.reader
    error = math.sqrt(share * (1 - share) / of_others.get("samples", view.count))
    eyes = {
        "extractor": f"classifier of {len(classifier.classes)} classes",
        "weights": classifier.weights_hash,
        "resize": "none, (x - 127.5) / 127.5",
        "reference": view.real,
        "reference_count": classifier.fitted,
    }
    return view.measurement(value, share, error, parameters, **eyes, **of_others)


def relative(value: Value, generated: Measurement, real: Measurement, parameters: str) -> Measurement:
    """The first share over the second, which is not 0: what a classifier misreads of real images is no fault of a generator's."""
    ratio = generated.value / real.value
    errors = [(one.standard_error or 0.0) / one.value if one.value else 0.0 for one in (generated, real)]
    identity = replace(generated.identity, kind=value.kind, metric=value.kind, parameters=parameters)
    return Measurement(ratio, ratio * math.hypot(*errors), identity, higher_is_better=True)
