"""The gate: a decision, from numbers alone and with its reasons, about who becomes champion.

A candidate has to pass the floors of `GateSettings`, and to be better than the champion beyond doubt: by more than the minimum
delta, with 95 % intervals that do not meet, in a number of equal identity. Of few images a Fréchet distance is mostly bias, which
differs between generators as their spread does, and no interval says so. Two such numbers decide only what the kernel distance,
which has no bias, says too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from atelier.config.metrics import deciding, limits
from atelier.config.registry import GateSettings
from atelier.metrics.bias import mostly_bias, of_real
from atelier.metrics.identity import Measurement

UNBIASED = "kernel"  # the kind of distance that few images do not move


@dataclass(frozen=True)
class Contender:
    """A version (its number) with its measurements by name. `unknown` says why those cannot be had, "" when they can."""

    version: int
    sha256: str
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    withdrawn: str = ""
    unknown: str = ""

    def primary(self, settings: GateSettings) -> Measurement | None:
        """The number that decides, if it was measured."""
        return self.number(settings.primary)

    def number(self, kind: str) -> Measurement | None:
        """The measurement of this kind, if there is one."""
        return next((one for one in self.measurements.values() if one.kind == kind), None)


@dataclass(frozen=True)
class Check:
    """A requirement, whether it is met, and in words what was found."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Decision:
    """The fate of the candidate, the reason, and each requirement that was checked, in order.

    `outcome` is promoted, refused, or kept where it is the champion itself.
    """

    outcome: Literal["promoted", "refused", "kept"]
    reason: str
    checks: list[Check]


def comparable(candidate: Contender, champion: Contender, settings: GateSettings) -> bool:
    """True where the deciding numbers of both have equal identities; if not, the champion has to be measured again."""
    mine, theirs = candidate.primary(settings), champion.primary(settings)
    return bool(mine and theirs and mine.identity == theirs.identity)


def decide(candidate: Contender, champion: Contender | None, settings: GateSettings) -> Decision:
    """Pure function of its arguments. Nothing that cannot be known lets a candidate pass."""
    if champion and champion.version == candidate.version:
        return Decision("kept", "it is the champion", [])
    if champion and champion.sha256 == candidate.sha256:
        same = f"its weights are those of champion version {champion.version}; promote it by hand if its newer code is wanted"
        return Decision("refused", same, [])
    checks = [_sound(candidate, settings), *_floors(candidate, settings), *_not_withdrawn(candidate)]
    sound = checks[0].passed
    against = _against(candidate, champion, settings) if champion and sound else []
    biased = _biased(candidate, champion, settings) if sound else []
    checks += [*against, *biased]
    failed = [check.found for check in checks if not check.passed]
    passed = [check.found for check in against] or ["it passes every floor, and there was no champion"]
    said = [check.found for check in biased if check.passed]
    return Decision("refused" if failed else "promoted", "; ".join([*(failed or passed), *said]), checks)


def _sound(candidate: Contender, settings: GateSettings) -> Check:
    one = candidate.primary(settings)
    if candidate.unknown:
        return Check(settings.primary, False, candidate.unknown)
    if one is None:
        add = f"add {deciding()[settings.primary]} to evaluate.metrics"
        return Check(settings.primary, False, f"{settings.primary} was not measured; {add}")
    if one.higher_is_better:
        return Check(one.name, False, f"{one.name} is better when higher, which the gate does not compare by")
    if one.interval is None or not all(map(math.isfinite, (one.value, *one.interval))):
        return Check(
            one.name, False, f"{one.name} is {_with_interval(one)}, not a finite number with its interval; evaluate again"
        )
    return Check(one.name, True, f"{one.name} is {_with_interval(one)}")


def _floors(candidate: Contender, settings: GateSettings) -> list[Check]:
    """The limits that are set, floors and ceilings."""
    checks = []
    for metric, value in limits():
        limit, key = settings.limit(value), f"gate.{value.limit}"
        if limit == value.open_limit:
            continue
        one = candidate.number(value.kind)
        if one is None:
            remedy = f"add {metric.name} to evaluate.metrics, or set {key} to {value.open_limit:g}"
            checks.append(Check(value.kind, False, f"{value.kind} was not measured; {remedy}"))
        else:
            passed = one.value >= limit if value.is_floor else one.value <= limit  # false for NaN
            sides = ("at least" if passed else "below") if value.is_floor else ("at most" if passed else "above")
            checks.append(Check(value.kind, passed, f"{one.name} is {one.value:.2%}, {sides} {key} = {limit:.2%}"))
    return checks


def _not_withdrawn(candidate: Contender) -> list[Check]:
    if not candidate.withdrawn:
        return []
    return [Check("rollback", False, f"it was rolled back before ({candidate.withdrawn}); promote it by hand if it is to return")]


def _against(candidate: Contender, champion: Contender, settings: GateSettings) -> list[Check]:
    mine, theirs = candidate.primary(settings), champion.primary(settings)
    assert mine
    who = f"champion version {champion.version}"
    if champion.unknown or theirs is None:
        why = champion.unknown or f"its {settings.primary} is not known"
        return [Check("identity", False, f"{who} cannot be compared with: {why}; promote by hand if that is wanted")]
    if differences := mine.identity.differences(theirs.identity):
        return [Check("identity", False, f"{mine.name} does not compare with that of {who}: {'; '.join(differences)}")]
    if theirs.interval is None or not all(map(math.isfinite, (theirs.value, *theirs.interval))):
        return [Check("champion", False, f"{mine.name} of {who} is {_with_interval(theirs)}, which cannot be compared with")]
    assert mine.interval and theirs.interval
    gain = theirs.value - mine.value
    beside = f"{mine.name} {_with_interval(mine)} against {_with_interval(theirs)} of {who}"
    if gain <= settings.min_delta:
        worse = (
            "not better" if gain <= 0 else f"better by {gain:.4g} only, not by more than gate.min_delta = {settings.min_delta:g}"
        )
        return [Check("better", False, f"{worse}: {beside}")]
    if mine.interval[1] >= theirs.interval[0]:
        return [Check("better", False, f"better by {gain:.4g}, but the intervals overlap: {beside}")]
    return [Check("better", True, f"better by {gain:.4g}, intervals apart: {beside}")]


def _biased(candidate: Contender, champion: Contender | None, settings: GateSettings) -> list[Check]:
    """The check of a number that is mostly bias; [] where it is not, or that is not known."""
    mine = candidate.primary(settings)
    if mine is None or not mostly_bias(mine, candidate.measurements):
        return []
    found = f"most of {mine.name} {mine.value:.4g} is bias, for {of_real(mine, candidate.measurements)}"
    theirs = champion.primary(settings) if champion and comparable(candidate, champion, settings) else None
    if champion is None or theirs is None or not mostly_bias(theirs, candidate.measurements):
        return [Check("bias", True, found)]
    found += f", and most of {theirs.value:.4g} of champion version {champion.version} is, too"
    own, other = candidate.number(UNBIASED), champion.number(UNBIASED)
    if own is None or other is None or own.identity != other.identity:
        remedy = "raise evaluate.samples, or add kernel to evaluate.metrics"
        return [Check("bias", False, f"{found}; the kernel distance, which has no bias, is not known of both: {remedy}")]
    agrees = own.value < other.value
    says = f"says {'the same' if agrees else 'otherwise'}: {own.value:.4g} against {other.value:.4g}"
    return [Check("bias", agrees, f"{found}; the kernel distance, which has no bias, {says}")]


def _with_interval(one: Measurement) -> str:
    interval = one.interval
    return f"{one.value:.4g}" + (f" ({interval[0]:.4g} … {interval[1]:.4g})" if interval else " (no interval)")
