"""The Fréchet distance within each class: a generator may generate most classes well and one of them badly."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

LARGEST = Value(
    "per_class",
    "Largest Fréchet distance of a class",
    higher_is_better=False,
    in_space="worst_class_frechet",
    published=("worst_class_fid", "Largest FID of a class"),
)


class PerClass(Metric):
    title = "Fréchet distance within each class, needs labels"
    values = (LARGEST,)
    needs = frozenset({Need.REAL_FEATURES, Need.CLASSES})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.per_class import per_class, worst

        classes, real = view.classes, view.reference.features
        distances = per_class(view.features, classes.generated, real, classes.reference, classes.names)
        name, value = worst(distances)
        largest = view.measurement(LARGEST, value, distances[name][1], f"ddof 1, largest of {len(distances)} classes")
        return Results([largest], class_distances={name: value for name, (value, _) in distances.items()})
