"""Champion, challenger and previous: the three aliases of a registered generator, and the only ways in which Atelier moves them.

champion    the version in use. Whoever moves it in MLflow's pages is respected: the alias is the truth.
challenger  the newest version that the gate has refused.
previous    the champion before this one, to which `rollback` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from atelier.config.registry import GateSettings
from atelier.errors import AtelierError
from atelier.metrics.identity import Measurement
from atelier.registry.fetch import check_signature
from atelier.registry.gate import Contender, Decision, comparable, decide
from atelier.registry.ledger import CHALLENGER, CHAMPION, PREVIOUS, Entry, Ledger, carry_out
from atelier.registry.versions import GENERATOR_HASH, check_ours, existing, measurements
from atelier.tracking.client import client, explained
from atelier.tracking.place import TrackingError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from atelier.registry.register import Registration
    from atelier.tracking.step_run import StepRun

OUTCOME, REASON, WITHDRAWN, BY_HAND = "gate.verdict", "gate.reason", "gate.withdrawn", "gate.promoted_by_hand"


def standing(version: ModelVersion) -> str:
    """What was decided about a version: promoted, refused or kept by the gate, by hand, rolled back, or not asked."""
    tags = version.tags
    return "rolled back" if tags.get(WITHDRAWN) else "by hand" if tags.get(BY_HAND) else tags.get(OUTCOME, "not asked")


Measure = Callable[["ModelVersion"], None]


def judged(run: StepRun, registration: Registration, settings: GateSettings, measure_again: Measure) -> Registration:
    """The registration with the outcome of the gate on it and the aliases that it has now.

    Raises TrackingError, and SignatureError where a verify key is configured that has not signed it.
    """
    with explained():
        ledger = Ledger.of(client(), registration.name, run.experiment_id)
        check_signature(ledger.client.get_model_version(registration.name, str(registration.version)))
        decision = judge(ledger, registration.version, settings, measure_again)
        aliases = ledger.client.get_model_version(registration.name, str(registration.version)).aliases
    return replace(registration, outcome=decision.outcome, reason=decision.reason, aliases=sorted(aliases))


def judge(ledger: Ledger, number: int, settings: GateSettings, measure_again: Measure) -> Decision:
    """Decides whether version `number` becomes champion, carries that out, and leaves it in the ledger and in the version's tags.

    `measure_again` measures a champion in the way in which the candidate was measured, and keeps its new numbers as tags; it is
    asked where the identities of their numbers differ, outside of any turn since it takes its time. What it raises as
    AtelierError is the reason of the refusal. Raises TrackingError.
    """
    tried: dict[int, str] = {}
    while True:
        with explained(), ledger.turn(carry_out(ledger)) as turn:
            candidate = _contender(ledger.client.get_model_version(ledger.name, str(number)))
            aliases = _aliases(ledger)
            holder = _version(ledger, aliases.get(CHAMPION))
            champion = _contender(holder, tried) if holder else None
            alone = decide(candidate, None, settings)
            if not (champion and alone.outcome == "promoted" and _unlike(candidate, champion, settings, tried)):
                decision = decide(candidate, champion, settings)
                if decision.outcome != "kept":
                    inputs = _inputs(candidate, champion, settings, decision, tried)
                    tags = {OUTCOME: decision.outcome, REASON: decision.reason}
                    moved = _moved(decision, candidate.version, aliases)
                    action = "promote" if decision.outcome == "promoted" else "refuse"
                    carry_out(ledger)(turn.record(action, candidate.version, decision.reason, moved, tags, inputs))
                return decision
        assert holder and champion
        try:
            measure_again(holder)
            tried[champion.version] = ""
        except AtelierError as error:
            tried[champion.version] = f"measuring it again failed: {error}"


def promote(ledger: Ledger, version: ModelVersion, reason: str) -> Entry:
    """Makes a version the champion because somebody wants it so.

    Raises TrackingError where it is already, or is not ours, and SignatureError where a verify key is configured that has not
    signed it.
    """
    check_ours(version)
    check_signature(version)
    number = int(version.version)
    with explained(), ledger.turn(carry_out(ledger)) as turn:
        aliases = _aliases(ledger)
        if aliases.get(CHAMPION) == number:
            raise TrackingError(f"version {number} of {ledger.name} is the champion already")
        moved = _promotion(number, aliases)
        entry = turn.record("promote", number, reason, moved, {BY_HAND: reason, WITHDRAWN: ""}, {"aliases": aliases})
        carry_out(ledger)(entry)
    return entry


def rollback(ledger: Ledger, reason: str) -> Entry:
    """Makes the previous champion the champion again; the gate will not promote the one that leaves by itself.

    After a champion that somebody had set in MLflow's pages, the previous one is the last that the ledger knows. Raises
    TrackingError where there is none to return to.
    """
    with explained(), ledger.turn(carry_out(ledger)) as turn:
        aliases = _aliases(ledger)
        leaves = aliases.get(CHAMPION)
        history = [entry for entry in ledger.entries() if CHAMPION in entry.aliases]
        recorded = history[-1].aliases[CHAMPION] if history else None
        returns = recorded if recorded != leaves and _version(ledger, recorded) else aliases.get(PREVIOUS)
        if leaves is None or returns is None or not _version(ledger, returns):
            raise TrackingError(
                f"{ledger.name} has no previous champion to return to; promote one: list {ledger.name} shows them"
            )
        before = next((entry.aliases.get(PREVIOUS) for entry in reversed(history) if entry.aliases[CHAMPION] == returns), None)
        moved = {CHAMPION: returns, PREVIOUS: before if before != leaves and _version(ledger, before) else None}
        entry = turn.record("rollback", leaves, reason, moved, {WITHDRAWN: reason}, {"aliases": aliases})
        carry_out(ledger)(entry)
    return entry


def _contender(version: ModelVersion, tried: dict[int, str] | None = None) -> Contender:
    number, unknown = int(version.version), ""
    found: dict[str, Measurement] = {}
    try:
        found = measurements(version)
    except AtelierError as error:
        unknown = str(error)
    return Contender(
        number,
        version.tags.get(GENERATOR_HASH, f"version {number}, not registered by Atelier"),
        found,
        version.tags.get(WITHDRAWN, ""),
        (tried or {}).get(number) or unknown,
    )


def _unlike(candidate: Contender, champion: Contender, settings: GateSettings, tried: dict[int, str]) -> bool:
    """Whether the champion has to be measured again before a decision."""
    return champion.version not in tried and candidate.sha256 != champion.sha256 and not comparable(candidate, champion, settings)


def _moved(decision: Decision, number: int, aliases: dict[str, int]) -> dict[str, int | None]:
    if decision.outcome == "promoted":
        return _promotion(number, aliases)
    return {CHALLENGER: number} if number > aliases.get(CHALLENGER, 0) and aliases.get(CHAMPION) != number else {}


def _promotion(number: int, aliases: dict[str, int]) -> dict[str, int | None]:
    moved: dict[str, int | None] = {CHAMPION: number}
    if CHAMPION in aliases:
        moved[PREVIOUS] = aliases[CHAMPION]
    if aliases.get(CHALLENGER) == number:
        moved[CHALLENGER] = None
    return moved


def _inputs(
    candidate: Contender, champion: Contender | None, settings: GateSettings, decision: Decision, tried: dict[int, str]
) -> dict[str, Any]:
    """What the decision was made from, for the record."""
    return {
        "candidate": _recorded(candidate),
        "champion": _recorded(champion) if champion else None,
        "champion_measured_again": bool(champion and tried.get(champion.version) == ""),
        "gate": settings.model_dump(mode="json"),
        "checks": [asdict(check) for check in decision.checks],
    }


def _recorded(one: Contender) -> dict[str, Any]:
    values = {name: measurement.to_dict() for name, measurement in one.measurements.items()}
    for measured in values.values():
        error = measured["standard_error"]
        if error is not None and not math.isfinite(error):
            measured["standard_error"] = str(error)  # which JSON has no number for
    return {**vars(one), "measurements": values}


def _aliases(ledger: Ledger) -> dict[str, int]:
    return {alias: int(number) for alias, number in ledger.client.get_registered_model(ledger.name).aliases.items()}


def _version(ledger: Ledger, number: int | None) -> ModelVersion | None:
    return existing(ledger.client, ledger.name, number) if number is not None else None
