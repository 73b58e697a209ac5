"""The Inception Score (Salimans et al. 2016, section 4)."""

from __future__ import annotations

from atelier.config.metrics import Need, Value
from atelier.metrics.inception_score import SPLITS, class_score, logits
from atelier.metrics.metric import Metric, Results, View

SCORE = Value(
    "inception_score",
    "Score of Salimans et al.",
    higher_is_better=True,
    in_space="class_score",
    published=("inception_score", "Inception Score"),
)


class InceptionScore(Metric):
    title = "Inception Score"
    values = (SCORE,)
    needs = frozenset({Need.LOGITS})
    fewest_generated = 2 * SPLITS

    def __call__(self, view: View) -> Results:
        value, deviation, error = class_score(logits(view.features, view.logits), seed=view.seed)
        score = view.measurement(SCORE, value, error, f"{SPLITS} splits")
        return Results([score], spread={score.name: deviation})
