"""Alarms: divergence, collapse and non-convergence, told from the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atelier.config.training import TrainSettings
from atelier.errors import AtelierError
from atelier.training.diagnosis import FEW_MODES, LATEST, MORE_VARIETY, SCATTERED, WON, latest
from atelier.training.history import distance_of

HALF = 0.5  # share of the run so far over which a discriminator has to be wrong, or right, before it counts
POINTS = 8  # of the curves, before anything is made of their means
HOPELESS = 5.0  # times the loss of an undecided discriminator
WORSE = 1.5  # times the best distance, twice in a row
BOTH = ("discriminator", "generator")
SLOWER = "lower the learning rates"

Points = Sequence[dict[str, float]]


class TrainingStopped(AtelierError):
    """An alarm ended the run; the message says where its best checkpoint is."""


@dataclass(frozen=True)
class Alarm:
    """Why a run will come to nothing. `kind` is its name; `fatal` if there is no sense in going on as it is.

    `slower` are the roles of the updates whose learning rates had better be lower.
    """

    kind: str
    text: str
    slower: tuple[str, ...] = BOTH
    fatal: bool = False


def not_finite(name: str, value: float) -> Alarm:
    """Of a number that broke."""
    return Alarm("divergence", f"{name} is {value}; {SLOWER} or raise r1", fatal=True)


class Watch:
    """Looks for reasons to end a run in its history.

    Divergence: gradients above `max_grad_norm`, a discriminator far worse than one whose logits are all 0, or images that differ
    more than real ones, as saturated ones do. Collapse: diversity under `min_diversity`, or coverage under `min_mode_coverage`.
    Non-convergence: a discriminator that keeps winning while the generator covers few modes, or a distance that grows. Curves
    that look alike for untrained networks count from `armed_from` images on, and none for a tenth of the budget after an alarm.
    The first reason names the alarm: a generator that learns nothing from a winning discriminator covers few modes too.
    """

    def __init__(self, settings: TrainSettings, undecided: float) -> None:
        """`undecided` is the loss of a discriminator whose logits are all 0; 0 where an objective has no scale (wasserstein)."""
        self.settings, self.undecided = settings, undecided
        self.armed_from = int(settings.evaluate_from * settings.images)

    def check(self, history: Mapping[str, Any]) -> Alarm | None:
        """The alarm that the history since the last one gives, or None."""
        since = max((alarm["images"] for alarm in history["alarms"]), default=0)
        points = [point for point in history["points"] if point["images"] > since]
        if not points or (since and points[-1]["images"] - since < LATEST * self.settings.images):
            return None
        norms = {name: value for name, value in points[-1].items() if name.startswith("grad_norm_")}
        for name, value in norms.items():
            if value > self.settings.max_grad_norm:
                text = f"{name} is {value:.3g}, above max_grad_norm {self.settings.max_grad_norm:g}"
                return Alarm("divergence", f"{text}; {SLOWER} or raise r1")
        if len(points) < POINTS:
            return None
        if points[-1]["images"] < self.armed_from:
            return self._hopeless(points)
        measured = [distance_of(one) for one in history["evaluations"] if one["images"] > since]
        best = min(map(distance_of, history["evaluations"]), default=math.inf)
        return (
            self._hopeless(points)
            or self._scattered(points)
            or self._lacks(points, "diversity", "differ {:.1%} as much as real ones")
            or self._won(points)
            or self._lacks(points, "mode_coverage", "cover {:.0%} as many modes as real ones")
            or self._worse(measured[-2:], best)
        )

    def _hopeless(self, points: Points) -> Alarm | None:
        loss = latest(points, "loss_discriminator", HALF)
        if loss is None or not loss > HOPELESS * self.undecided > 0:
            return None
        text = (
            f"the discriminator's loss is {loss:.3g}, with logits of 0 it would be {self.undecided:.3g}: its steps are too long"
        )
        return Alarm("divergence", f"{text}; {SLOWER}")

    def _scattered(self, points: Points) -> Alarm | None:
        value = latest(points, "diversity", HALF)
        if value is None or value <= SCATTERED:
            return None
        text = f"the images of a fixed batch differ {value:.0%} as much as real ones, as noise and saturated images do"
        return Alarm("divergence", f"{text}; {SLOWER}")

    def _lacks(self, points: Points, name: str, observed: str) -> Alarm | None:
        value, least = latest(points, name), getattr(self.settings, f"min_{name}")
        if value is None or value >= least:
            return None
        text = f"the images of a fixed batch {observed.format(value)}, under min_{name} {least:g}"
        return Alarm("collapse", f"{text}; {MORE_VARIETY}")

    def _won(self, points: Points) -> Alarm | None:
        value, coverage = latest(points, "auc_real_fake", HALF), latest(points, "mode_coverage")
        if value is None or coverage is None or value <= WON or coverage >= FEW_MODES:
            return None
        text = f"for half of the run the discriminator was right in {value:.0%} of pairs, and mode coverage is {coverage:.0%}"
        return Alarm("non-convergence", f"{text}; lower lr_discriminator, or raise r1 and r2", slower=("discriminator",))

    def _worse(self, last: Sequence[float], best: float) -> Alarm | None:
        if len(last) < 2 or min(last) <= WORSE * best:
            return None
        text = f"the distance grows: {last[0]:.4g} and {last[1]:.4g}, after {best:.4g}"
        return Alarm("non-convergence", f"{text}; {SLOWER}, or raise r1 and r2")
