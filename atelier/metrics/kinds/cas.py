"""What a classifier that is fitted on generated images alone reads in held-out real ones.

The classification accuracy score of Ravuri and Vinyals 2019, which Shmelkov et al. 2018 call GAN-train. A class that is missing,
one that looks always alike, and images that are not of their class lower it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Reader, RealImages, Results, View
from atelier.metrics.readings import relative

if TYPE_CHECKING:
    from atelier.metrics.learnt_from import Learnt

CAS = Value(
    "cas",
    "CAS (GAN-train): held-out real images read by a classifier of generated ones",
    higher_is_better=True,
    form="share",
    limit="min_cas",
    limit_text="share of held-out real images that a classifier fitted on its images reads as labelled",
)
LOST = Value(
    "cas_lost",
    "CAS: share lost against a classifier of as many real images",
    higher_is_better=False,
    form="share",
    decides=True,
)
RELATIVE = Value("cas_relative", "CAS, relative to a classifier of as many real images", higher_is_better=True, form="ratio")
REAL = Value(
    "cas_real",
    "Held-out real images read by a classifier of as many real ones",
    higher_is_better=True,
    form="share",
    subject="classifier",
)


class Cas(Metric):
    title = "accuracy of a classifier fitted on the generated images (CAS, GAN-train), needs labels"
    values = (CAS, LOST, RELATIVE, REAL)
    needs = frozenset({Need.LABELS, Need.CLASSES})

    def reader(self, real: RealImages) -> Reader:
        from atelier.metrics.learnt_from import Learnt

        return Learnt(real)

    def __call__(self, view: View) -> Results:
        reader: Learnt = view.reader
        found = reader.accuracies(view.columns, view.classes.generated, view.once)
        how = f"fitted on {found.fitted} images of {reader.side} px, each share of all held-out real images"
        common = {
            "extractor": f"classifiers of {len(reader.dataset.classes)} classes",
            "reference": view.real,
            "reference_count": found.held_out,
        }
        errors = [math.sqrt(share * (1 - share) / found.held_out) for share in found[:2]]
        cas = view.measurement(CAS, found.generated, errors[0], how, **common)
        real = view.measurement(REAL, found.real, errors[1], how, **common, sampling="real images, as many")
        lost = view.measurement(LOST, found.real - found.generated, math.hypot(*errors), how, **common)
        compared = [lost] + ([relative(RELATIVE, cas, real, how)] if found.real else [])
        return Results([cas, *compared, real])
