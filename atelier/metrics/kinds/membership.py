"""How well training images can be told from held-out ones: by generated images, and by the discriminator where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.config.metrics import Need, Value
from atelier.metrics.metric import Metric, Results, View

if TYPE_CHECKING:
    from atelier.metrics.identity import Measurement
    from atelier.metrics.membership import Attack

AUC = Value(
    "membership_auc",
    "Membership inference by distance: pairs ordered rightly (50% is chance)",
    higher_is_better=False,
    form="share",
    limit="max_membership_auc",
    limit_text="share of pairs of a training and a held-out image that are told apart by the distance from its images, 0.5 being "
    "chance",
    caveat="By the distance from its images, {} of pairs of a training and a held-out image are ordered rightly (50% is chance).",
)
FOUND = Value(
    "membership_tpr",
    "Membership inference by distance: training images found at 0.1% of false ones",
    higher_is_better=False,
    form="share",
)
LOGIT_AUC = Value(
    "membership_logit_auc",
    "Membership inference by the discriminator: pairs ordered rightly (50% is chance)",
    higher_is_better=False,
    form="share",
)
LOGIT_FOUND = Value(
    "membership_logit_tpr",
    "Membership inference by the discriminator: training images found at 0.1% of false ones",
    higher_is_better=False,
    form="share",
)


class Membership(Metric):
    title = "training images told from held-out ones"
    values = (AUC, FOUND, LOGIT_AUC, LOGIT_FOUND)
    needs = frozenset({Need.REAL_FEATURES, Need.HELD_OUT})
    uses = frozenset({Need.DISCRIMINATOR})

    def __call__(self, view: View) -> Results:
        from atelier.metrics.membership import by_distance, by_logit, halves

        training, held_out = view.trained, view.held_out
        calibrating, others = halves(held_out.count, view.seed)
        real = training.features, held_out.features[calibrating], held_out.features[others]
        differences, ratios = by_distance(view.features, *real)
        found = [
            _auc(view, AUC, differences, f"difference of squared distances; {len(calibrating)} calibrate"),
            _found(view, FOUND, ratios, f"ratio of squared distances; {len(calibrating)} calibrate"),
        ]
        if view.judge is not None:
            sides = (True, training.indices), (False, held_out.indices[calibrating]), (False, held_out.indices[others])
            logits, labels = zip(*(view.judge(trained_on, rows) for trained_on, rows in sides), strict=True)
            attack, how = by_logit(logits, labels), f"the discriminator's logits; {len(calibrating)} calibrate"
            found += [_auc(view, LOGIT_AUC, attack, how), _found(view, LOGIT_FOUND, attack, how)]
        return Results(found)


def _auc(view: View, value: Value, attack: Attack, how: str) -> Measurement:
    return view.measurement(value, *attack.auc(), f"{how}, {len(attack.others)} others")


def _found(view: View, value: Value, attack: Attack, how: str) -> Measurement:
    from atelier.metrics.membership import RATE

    bound = attack.bound()
    short = f", too few for {RATE:.1%}: up to {bound:.2%} is possible" if bound > RATE else ""
    return view.measurement(
        value, *attack.found(), f"{how}, {attack.allowed()} of {len(attack.others)} others taken for trained on{short}"
    )
