"""What is kept of the statistics of training images, beside what new real images in the same numbers keep."""

from __future__ import annotations

import numpy as np

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

MEANS = Value(
    "class_means",
    "Class means: difference from training images, in standard deviations",
    higher_is_better=False,
    in_space="class_means",
)
CORRELATIONS = Value(
    "correlations",
    "Correlations between features: mean difference from training images",
    higher_is_better=False,
    in_space="correlations",
)


class Statistics(Metric):
    title = "class means and correlations that are kept"
    values = (MEANS, CORRELATIONS, MEANS.of_held_out, CORRELATIONS.of_held_out)
    needs = frozenset({Need.REAL_FEATURES, Need.HELD_OUT})
    uses = frozenset({Need.CLASSES})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.kept_statistics import RealStatistics, as_many

        real, held_out = view.trained.features, view.held_out.features
        labels = view.labels or tuple(np.zeros(len(one), np.int64) for one in (view.features, real, held_out))
        rows, others = as_many(labels[0], labels[2], view.seed)
        statistics = RealStatistics(real, labels[1])
        how = f"{len(rows)} images, {len(np.unique(labels[0][rows]))} classes"
        new = {"samples": len(others), "sampling": f"real images: {view.held_out.images}"}
        kept, floor = (view.features[rows], labels[0][rows]), (held_out[others], labels[2][others])
        return Results(
            [
                view.measurement(MEANS, statistics.class_means_apart(*kept), None, how),
                view.measurement(MEANS.of_held_out, statistics.class_means_apart(*floor), None, how, **new),
                view.measurement(CORRELATIONS, statistics.correlations_apart(kept[0]), None, how),
                view.measurement(CORRELATIONS.of_held_out, statistics.correlations_apart(floor[0]), None, how, **new),
            ]
        )
