"""Cases of the gate: numbers of a champion and of a candidate, and what has to become of the candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from atelier.config.registry import GateSettings
from atelier.metrics.identity import Identity, Measurement
from atelier.registry.gate import Contender

LIMITS = {"min_coverage": 0.3, "min_recall": 0.1, "min_class_share": 0.02, "max_memorised": 0.2}
GATE = GateSettings.model_validate({"primary": "frechet", "min_delta": 0.5, **LIMITS})
Numbers = list[Measurement]


@dataclass(frozen=True)
class Case:
    """`champion` is None where there is none; `says` is part of the reason."""

    name: str
    champion: Numbers | None
    candidate: Numbers
    outcome: str
    says: str


def numbers(
    distance: float | None = 20.0, error: float | None = 0.5, reference: str = "r", higher: bool = False, **others: float
) -> Numbers:
    """Measurements of a generator in which nothing is wrong, but for what is given."""
    identity = Identity(
        metric="frechet_efficientnet_lite0", extractor="efficientnet_lite0, 1280 features", weights="e" * 64, resize="to 96 px",
        samples=1000, sampling="as the reference", reference=reference * 64, reference_count=4500, seed=0, parameters="ddof 1",
    )  # fmt: skip
    found = [Measurement(distance, error, identity, higher)] if distance is not None else []
    in_space = {"real": "real_frechet_efficientnet_lite0", "kernel": "kernel_efficientnet_lite0"}
    for name, value in {"coverage": 0.8, "recall": 0.6, "class_share_min": 0.08, "memorised": 0.01, **others}.items():
        if not math.isnan(value):  # which stands for "not measured"
            found.append(
                Measurement(value, 0.01, replace(identity, metric=in_space.get(name, name), kind=""), name != "memorised")
            )
    return found


def contender(version: int, measured: Numbers) -> Contender:
    """A version with these numbers, and weights of its own."""
    return Contender(version, f"{version}" * 64, {one.name: one for one in measured})


CASES = [
    Case("first", None, numbers(), "promoted", "there was no champion"),
    Case("first-collapsed", None, numbers(coverage=0.1), "refused", "coverage is 10.00%, below gate.min_coverage = 30.00%"),
    Case("better", numbers(20), numbers(15), "promoted", "better by 5, intervals apart"),
    Case("worse", numbers(20), numbers(25), "refused", "not better: frechet_efficientnet_lite0 25"),
    Case("equal", numbers(20), numbers(20), "refused", "not better"),
    Case("by-less-than-the-delta", numbers(20, 0.01), numbers(19.6, 0.01), "refused", "not by more than gate.min_delta = 0.5"),
    Case("intervals-overlap", numbers(20, 2.0), numbers(15, 2.0), "refused", "better by 5, but the intervals overlap"),
    Case("one-wide-interval", numbers(20, 0.1), numbers(15, 3.0), "refused", "the intervals overlap"),
    Case("nan", numbers(20), numbers(15, math.nan), "refused", "not a finite number with its interval"),
    Case("infinite", numbers(20), numbers(15, math.inf), "refused", "not a finite number with its interval"),
    Case("no-interval", numbers(20), numbers(15, None), "refused", "not a finite number with its interval"),
    Case("champion-without-interval", numbers(20, None), numbers(15), "refused", "which cannot be compared with"),
    Case("other-identity", numbers(20, reference="q"), numbers(15), "refused", "does not compare with that of champion"),
    Case("few-classes", numbers(20), numbers(15, class_share_min=0.0), "refused", "class_share_min is 0.00%, below"),
    Case("little-recall", numbers(20), numbers(15, recall=0.05), "refused", "recall is 5.00%, below gate.min_recall"),
    Case("memorised", numbers(20), numbers(15, memorised=0.9), "refused", "memorised is 90.00%, above gate.max_memorised"),
    Case("two-faults", numbers(20), numbers(25, coverage=0.2), "refused", "below gate.min_coverage = 30.00%; not better"),
    Case(
        "coverage-unknown",
        numbers(20),
        numbers(15, coverage=math.nan),
        "refused",
        "add prdc to evaluate.metrics, or set",
    ),
    Case("distance-unknown", numbers(20), numbers(None), "refused", "frechet was not measured; add frechet to evaluate.metrics"),
    Case("champion-unknown", [], numbers(15), "refused", "cannot be compared with: its frechet is not known"),
    Case("first-mostly-bias", None, numbers(20, real=11.0), "promoted", "most of frechet_efficientnet_lite0 20 is bias"),
    Case("hardly-bias", numbers(20), numbers(15, real=7.0), "promoted", "better by 5, intervals apart"),
    Case("one-mostly-bias", numbers(20), numbers(15, real=9.0), "promoted", "of frechet_efficientnet_lite0 15 is bias"),
    Case("both-mostly-bias", numbers(20), numbers(15, real=12.0), "refused", "or add kernel to evaluate.metrics"),
    Case(
        "both-mostly-bias-and-worse",
        numbers(20, kernel=0.2),
        numbers(25, real=14.0, kernel=0.1),
        "refused",
        "not better",
    ),
    Case(
        "the-kernel-distance-agrees",
        numbers(20, kernel=0.2),
        numbers(15, real=12.0, kernel=0.1),
        "promoted",
        "most of 20 of champion version 1 is, too; the kernel distance, which has no bias, says the same: 0.1 against 0.2",
    ),
    Case(
        "the-kernel-distance-disagrees",
        numbers(20, kernel=0.1),
        numbers(15, real=12.0, kernel=0.2),
        "refused",
        "the kernel distance, which has no bias, says otherwise: 0.2 against 0.1",
    ),
    Case("higher-is-better", numbers(20), numbers(15, higher=True), "refused", "better when higher"),
]
