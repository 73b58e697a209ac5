"""Precision, recall, density and coverage among as many real images (Kynkäänniemi et al. 2019; Naeem et al. 2020)."""

from __future__ import annotations

from dataclasses import asdict

from atelier.config.metrics import Need, Value
from atelier.metrics.coverage import NEIGHBORS, prdc
from atelier.metrics.metric import Metric, Results, View

PRECISION = Value("precision", "Precision: its images that look real", higher_is_better=True, form="share")
RECALL = Value(
    "recall",
    "Recall: real images that it might generate",
    higher_is_better=True,
    form="share",
    limit="min_recall",
    limit_text="share of real images that it might have generated, below which it has collapsed",
    caveat="{} of the real images lie among its images (recall); it rarely or never generates what the others show.",
)
DENSITY = Value("density", "Density (1 is ideal)", higher_is_better=True)
COVERAGE = Value(
    "coverage",
    "Coverage: real images that have a generated one near",
    higher_is_better=True,
    form="share",
    limit="min_coverage",
    limit_text="share of real images with a generated one near them, below which it has collapsed",
    caveat="{} of the real images have one of its images in their neighborhood (coverage).",
)


class Prdc(Metric):
    title = "precision, recall, density and coverage among real images"
    values = (PRECISION, RECALL, DENSITY, COVERAGE)
    needs = frozenset({Need.REAL_FEATURES})
    fewest = NEIGHBORS + 1

    def __call__(self, view: View) -> Results:
        from atelier.metrics.reference import reference_indices

        drawn = reference_indices(view.reference.count, view.seed, cap=view.count)
        shares = asdict(prdc(view.reference.features[drawn], view.features))
        how, count = f"{NEIGHBORS} neighbours", len(drawn)
        found = ((value, *shares[value.kind]) for value in self.values)
        return Results([view.measurement(value, share, error, how, reference_count=count) for value, share, error in found])
