"""The gate, promotion by hand and rollback in a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from atelier.errors import AtelierError
from atelier.metrics.identity import Measurement
from atelier.registry import ledger as ledgers
from atelier.registry.ledger import Ledger
from atelier.registry.promotion import judge, promote, rollback
from atelier.registry.versions import MEASUREMENT
from atelier.tracking.client import client, experiment_id
from atelier.tracking.place import TrackingError
from tests.support.gate_cases import GATE, numbers
from tests.support.registry_play import Name, not_needed


@pytest.fixture
def name(tracking: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Name:
    monkeypatch.setattr(ledgers, "POLL_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 2.0)
    return Name(request.node.name.replace("[", "-").rstrip("]"))


def version_of(name: Name, number: int) -> Any:
    return client().get_model_version(name.name, str(number))


def test_the_first_the_worse_and_the_better(name: Name, tmp_path: Path) -> None:
    assert name.judged(numbers(20))[1].outcome == "promoted" and name.aliases == {"champion": 1}
    assert name.judged(numbers(25))[1].outcome == "refused" and name.aliases == {"champion": 1, "challenger": 2}
    assert name.judged(numbers(15))[1].outcome == "promoted"
    assert name.aliases == {"champion": 3, "previous": 1, "challenger": 2}
    assert name.tags(2)["gate.verdict"] == "refused" and name.tags(2)["gate.reason"].startswith("not better")
    assert name.tags(3)["gate.verdict"] == "promoted" and "better by 5" in name.tags(3)["gate.reason"]
    entries = name.ledger.entries()
    assert [(entry.action, entry.version, entry.end) for entry in entries] == [
        ("promote", 1, "done"), ("refuse", 2, "done"), ("promote", 3, "done"),
    ]  # fmt: skip
    record = name.record(entries[-1].number, tmp_path)
    assert record["aliases"] == {"champion": 3, "previous": 1}
    assert record["inputs"]["gate"]["min_delta"] == 0.5 and record["inputs"]["champion"]["version"] == 1
    assert record["inputs"]["candidate"]["measurements"]["frechet_efficientnet_lite0"]["value"] == 15
    assert [check["passed"] for check in record["inputs"]["checks"]] == [True] * 6


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_a_number_that_is_none_is_refused(name: Name, value: str) -> None:
    """Measurements are finite; what somebody else writes into the tags need not be."""
    name.judged(numbers(20))
    number = name.add(numbers(15))
    (tag,) = (tag for tag in name.tags(number) if tag.startswith(f"{MEASUREMENT}frechet"))
    wrong = name.tags(number)[tag].replace('"value": 15', f'"value": {value}')
    client().set_model_version_tag(name.name, str(number), tag, wrong)
    decision = judge(name.ledger, number, GATE, not_needed)
    assert decision.outcome == "refused" and "is damaged (frechet_efficientnet_lite0 is" in decision.reason
    assert name.aliases == {"champion": 1, "challenger": number}


def test_registering_the_champion_again_changes_nothing(name: Name) -> None:
    name.judged(numbers(20))
    before = name.ledger.entries()
    assert judge(name.ledger, 1, GATE, not_needed).outcome == "kept"
    assert name.ledger.entries() == before and name.tags(1)["gate.verdict"] == "promoted"


def test_a_promotion_by_hand_in_mlflow_is_respected(name: Name) -> None:
    name.judged(numbers(20))
    name.judged(numbers(30))
    client().set_registered_model_alias(name.name, "champion", "2")
    assert name.judged(numbers(25))[1].outcome == "promoted"  # better than 30, not than 20
    assert name.aliases == {"champion": 3, "previous": 2, "challenger": 2}


@pytest.mark.parametrize("gone", ["alias", "version"])
def test_without_a_champion_the_next_that_passes_becomes_it(name: Name, gone: str) -> None:
    name.judged(numbers(20))
    if gone == "alias":
        client().delete_registered_model_alias(name.name, "champion")
    else:
        client().delete_model_version(name.name, "1")
    assert name.judged(numbers(30, coverage=0.1))[1].outcome == "refused"
    assert name.judged(numbers(30))[1].outcome == "promoted" and name.aliases == {"champion": 3, "challenger": 2}


def measured_again(name: Name, number: int, measured: list[Measurement]) -> None:
    for one in measured:
        client().set_model_version_tag(name.name, str(number), f"{MEASUREMENT}{one.name}", json.dumps(one.to_dict()))


@pytest.mark.parametrize(("value", "outcome"), [(40, "promoted"), (10, "refused")])
def test_a_champion_of_another_identity_is_measured_again(name: Name, value: float, outcome: str, tmp_path: Path) -> None:
    name.judged(numbers(1, reference="q"))
    asked: list[Any] = []

    def again(version: Any) -> None:
        asked.append(version.version)
        measured_again(name, int(version.version), numbers(value))

    assert name.judged(numbers(20), again)[1].outcome == outcome
    assert [int(number) for number in asked] == [1]
    record = name.record(name.ledger.entries()[-1].number, tmp_path)
    assert record["inputs"]["champion_measured_again"] and record["inputs"]["champion"]["measurements"]


def test_a_champion_that_cannot_be_measured_again_stays(name: Name) -> None:
    name.judged(numbers(20, reference="q"))

    def again(_: Any) -> None:
        raise AtelierError("its weights are gone")

    number, decision = name.judged(numbers(1), again)
    assert decision.outcome == "refused" and "measuring it again failed: its weights are gone" in decision.reason
    assert name.aliases == {"champion": 1, "challenger": number}


def test_a_collapsed_candidate_costs_no_second_measurement(name: Name) -> None:
    name.judged(numbers(20, reference="q"))
    assert name.judged(numbers(1, coverage=0.0), not_needed)[1].outcome == "refused"


def test_a_champion_of_something_else_is_not_replaced_by_itself(name: Name) -> None:
    client().create_model_version(name.name, "mlflow-artifacts:/elsewhere")
    client().set_registered_model_alias(name.name, "champion", "1")

    def again(_: Any) -> None:
        raise TrackingError("version 1 was not registered by Atelier")

    decision = name.judged(numbers(1), again)[1]
    assert decision.outcome == "refused" and "not registered by Atelier" in decision.reason
    with pytest.raises(TrackingError, match="not registered by Atelier"):
        promote(name.ledger, version_of(name, 1), "wanted")


def test_promotion_and_rollback_by_hand(name: Name) -> None:
    for value in (20, 15, 10):
        name.judged(numbers(value))
    name.judged(numbers(30))
    entry = promote(name.ledger, version_of(name, 4), "the customer likes it")
    assert entry.aliases == {"champion": 4, "previous": 3, "challenger": None} and name.aliases == {"champion": 4, "previous": 3}
    assert name.tags(4)["gate.promoted_by_hand"] == "the customer likes it" and name.tags(4)["gate.verdict"] == "refused"
    with pytest.raises(TrackingError, match="is the champion already"):
        promote(name.ledger, version_of(name, 4), "again")
    left = []
    for returns, before in ((3, 2), (2, 1), (1, None)):
        left.append(rollback(name.ledger, "it generates only eights").version)
        assert name.aliases == {"champion": returns} | ({"previous": before} if before else {})
    assert left == [4, 3, 2]
    with pytest.raises(TrackingError, match="no previous champion to return to"):
        rollback(name.ledger, "further")
    assert [entry.action for entry in name.ledger.entries()][-4:] == ["promote", "rollback", "rollback", "rollback"]


def test_the_gate_does_not_bring_back_what_was_rolled_back(name: Name) -> None:
    name.judged(numbers(20))
    name.judged(numbers(10))
    rollback(name.ledger, "it generates only eights")
    decision = judge(name.ledger, 2, GATE, not_needed)
    assert decision.outcome == "refused" and "rolled back before (it generates only eights)" in decision.reason
    assert name.aliases == {"champion": 1, "challenger": 2}
    promote(name.ledger, version_of(name, 2), "mended")
    rollback(name.ledger, "no")
    assert name.aliases["champion"] == 1


def test_rollback_after_a_change_by_hand_returns_to_what_it_replaced(name: Name) -> None:
    for value in (20, 10):
        name.judged(numbers(value))
    name.judged(numbers(30))
    client().set_registered_model_alias(name.name, "champion", "3")  # the alias previous still names version 1
    assert rollback(name.ledger, "a slip").version == 3
    assert name.aliases == {"champion": 2, "previous": 1, "challenger": 3}


@pytest.mark.parametrize("call", ["set_model_version_tag", "set_registered_model_alias", "log_param", "log_artifact"])
def test_what_was_interrupted_is_finished_by_the_next(name: Name, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Wherever the line breaks, there is one champion; what had been decided is done, once, before anything else."""
    name.judged(numbers(20))
    original: Callable[..., Any] = getattr(MlflowClient, call)
    number = name.add(numbers(10))
    for breaks_at in range(1, 4):
        calls: list[Any] = []

        def lost(*given: Any, at: int = breaks_at, calls: list[Any] = calls, **named: Any) -> Any:
            calls.append(given)
            if len(calls) == at:
                raise ConnectionError("the line broke")
            return original(*given, **named)

        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, call, lost)
            try:
                judge(name.ledger, number, GATE, not_needed)
            except TrackingError as error:
                assert "the line broke" in str(error)
        assert name.aliases.get("champion") in (1, number)
    judge(name.ledger, number, GATE, not_needed)
    assert name.aliases == {"champion": number, "previous": 1} and name.tags(number)["gate.verdict"] == "promoted"
    done = [entry for entry in name.ledger.entries() if entry.version == number]
    assert [entry.action for entry in done] == ["promote"] and done[0].end.startswith("done")


def test_two_names_do_not_wait_for_each_other(name: Name) -> None:
    other = Name(f"{name.name}-other")
    with name.ledger.turn(lambda entry: pytest.fail(f"{entry} is to be finished")):
        other.judged(numbers(20))
    assert other.aliases == {"champion": 1}


def test_a_ledger_is_found_from_another_experiment(name: Name) -> None:
    elsewhere = experiment_id(client(), "another experiment")
    assert Ledger.of(client(), name.name, elsewhere).run_id == name.ledger.run_id


def test_an_unlike_seed_is_another_identity(name: Name) -> None:
    name.judged(numbers(20))
    other = [replace(one, identity=replace(one.identity, seed=1)) for one in numbers(10)]

    def again(_: Any) -> None:
        raise AtelierError("no images here")

    assert "no images here" in name.judged(other, again)[1].reason
