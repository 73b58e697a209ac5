"""The case table of the gate against real MLflow servers, and servers that refuse."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from atelier.errors import AtelierError
from atelier.registry.ledger import Ledger
from atelier.registry.promotion import judge, promote
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from tests.support.gate_cases import CASES, GATE, Case, numbers
from tests.support.mlflow_servers import Proxy, Server
from tests.support.registry_play import Name, not_needed

UNMEASURED = {"other-identity", "champion-unknown"}  # where the champion has to be measured again, which cannot be done here

UNREADABLE = {"nan", "infinite"}  # numbers that are refused where a tag is read, before the gate sees them


def no_images(_: Any) -> None:
    raise AtelierError("no images here")


@pytest.fixture
def name(server: Server) -> Name:
    return Name(f"gate-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases(server: Server, case: Case, tmp_path: Path) -> None:
    name = Name(f"{case.name}-{uuid.uuid4().hex[:8]}")
    champion: dict[str, int] = {}
    if case.champion is not None:
        champion = {"champion": name.add(case.champion)}
        client().set_registered_model_alias(name.name, "champion", "1")
    number, decision = name.judged(case.candidate, no_images if case.name in UNMEASURED else not_needed)
    says = "measuring it again failed: no images here" if case.name in UNMEASURED else case.says
    if case.name in UNREADABLE:
        says = "tag measurement.frechet_efficientnet_lite0 is damaged"
    assert decision.outcome == case.outcome and says in decision.reason
    previous = {"previous": 1} if champion else {}
    promoted, refused = {"champion": number, **previous}, {**champion, "challenger": number}
    assert name.aliases == (promoted if case.outcome == "promoted" else refused)
    tags = name.tags(number)
    assert (tags["gate.verdict"], tags["gate.reason"]) == (case.outcome, decision.reason)
    (entry,) = name.ledger.entries()
    assert (entry.version, entry.reason, entry.end) == (number, decision.reason, "done")
    record = name.record(entry.number, tmp_path)
    assert record["reason"] == decision.reason and record["inputs"]["candidate"]["version"] == number
    assert record["inputs"]["gate"] == GATE.model_dump(mode="json")


def test_a_champion_that_was_deleted_or_lost_its_alias(name: Name) -> None:
    name.judged(numbers(20))
    client().delete_registered_model_alias(name.name, "champion")
    assert name.judged(numbers(30))[1].outcome == "promoted" and name.aliases["champion"] == 2
    client().delete_model_version(name.name, "2")
    assert name.judged(numbers(40))[1].outcome == "promoted" and name.aliases["champion"] == 3


def test_a_champion_that_somebody_has_set_in_mlflow(name: Name) -> None:
    name.judged(numbers(20))
    name.judged(numbers(40))
    client().set_registered_model_alias(name.name, "champion", "2")
    assert name.judged(numbers(30))[1].outcome == "promoted" and name.aliases["champion"] == 3


def test_a_registry_that_may_only_be_read(name: Name, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    name.judged(numbers(20))
    number = name.add(numbers(10))
    before = (name.aliases, name.tags(number), name.ledger.entries())
    proxy.before = lambda *_: 403
    with monkeypatch.context() as readonly:
        readonly.setenv("MLFLOW_TRACKING_URI", proxy.uri)
        again = Name(name.name)  # which needs nothing but reading
        with pytest.raises(TrackingError, match=r"it refuses that: ask whoever runs the server") as told:
            judge(again.ledger, number, GATE, not_needed)
        assert len(str(told.value).splitlines()) == 1
        with pytest.raises(TrackingError, match="it refuses that"):
            promote(again.ledger, client().get_model_version(name.name, str(number)), "wanted")
    assert (name.aliases, name.tags(number), name.ledger.entries()) == before


def test_a_server_that_asks_for_a_password(name: Name, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.before, proxy.everything = lambda *_: 401, True
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    with pytest.raises(TrackingError, match=r"set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as told:
        judge(Ledger(client(), name.name, name.ledger.run_id), 1, GATE, not_needed)
    assert len(str(told.value).splitlines()) == 1
