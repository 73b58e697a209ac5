"""Turns and decisions in a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from atelier.registry import ledger as ledgers
from atelier.registry.ledger import Entry, Ledger, TurnLost
from atelier.tracking.client import client, experiment_id
from atelier.tracking.place import TrackingError


@pytest.fixture
def inside(tracking: Path) -> str:
    return experiment_id(client(), "ledger tests")


def nothing(_: Entry) -> None:
    pytest.fail("there is nothing to carry out")


def decide(ledger: Ledger, version: int, carried: list[Entry]) -> Entry:
    with ledger.turn(carried.append) as turn:
        return turn.record("promote", version, "better", {"champion": version}, {"gate.verdict": "promoted"}, {"value": 3.5})


def parameters(ledger: Ledger) -> dict[str, str]:
    return client().get_run(ledger.run_id).data.params


def test_a_decision_is_kept_with_its_inputs(inside: str, tmp_path: Path) -> None:
    ledger = Ledger.of(client(), "kept", inside)
    decide(ledger, 4, [])
    (entry,) = Ledger.of(client(), "kept", inside).entries()
    assert (entry.number, entry.action, entry.version, entry.reason, entry.end) == (1, "promote", 4, "better", "done")
    assert entry.aliases == {"champion": 4} and entry.at.endswith("+00:00") and "process" in entry.by
    file = client().download_artifacts(ledger.run_id, "decisions/0001.json", str(tmp_path))
    assert json.loads(Path(file).read_text())["inputs"] == {"value": 3.5}
    assert client().get_registered_model("kept").tags["atelier.ledger"] == ledger.run_id


def test_a_model_without_a_ledger_gets_one(inside: str) -> None:
    assert Ledger.existing(client(), "nobody's") is None
    client().create_registered_model("registered by hand")
    assert Ledger.existing(client(), "registered by hand") is None
    made = Ledger.of(client(), "registered by hand", inside)
    found = Ledger.existing(client(), "registered by hand")
    assert found and found.run_id == made.run_id


def test_of_several_that_begin_at_once_one_ledger_stays(inside: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: Ledger.of(client(), "begun at once", inside).run_id, range(4)))
    assert len(found) == 1
    runs = client().search_runs([inside], "tags.`atelier.ledger_of` = 'begun at once'")
    assert [run.info.run_id for run in runs] == list(found)


def test_turns_exclude_each_other(inside: str) -> None:
    ledger, inside_now, most = Ledger.of(client(), "excluded", inside), [], []

    def work(number: int) -> None:
        with ledger.turn(nothing) as turn:
            inside_now.append(number)
            most.append(len(inside_now))
            turn.outcome = f"by {number}"
            inside_now.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    assert most == [1] * 12
    ends = [value for name, value in parameters(ledger).items() if name.endswith(".end")]
    assert sorted(ends) == sorted(f"by {number}" for number in range(12))


def test_what_a_dead_process_had_decided_is_done_first(inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.of(client(), "dead", inside)
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 1.0)
    with pytest.raises(KeyboardInterrupt), ledger.turn(nothing) as turn:
        turn.record("promote", 7, "better", {"champion": 7}, {}, {})
        raise KeyboardInterrupt
    assert "0001.end" not in parameters(ledger)
    carried: list[Entry] = []
    with ledger.turn(carried.append) as turn:
        assert turn.number == 2 and [entry.version for entry in carried] == [7]
    assert parameters(ledger)["0001.end"] == "done by turn 2"
    with ledger.turn(nothing):
        pass


def test_who_died_before_deciding_is_passed_over(inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.of(client(), "undecided", inside)
    assert ledger.write(1, "turn", json.dumps({"by": "somebody", "at": "", "id": "1"}))
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 0.5)
    with ledger.turn(nothing) as turn:
        assert turn.number == 2
    assert parameters(ledger)["0001.end"] == "nothing was decided; ended by turn 2"


def test_an_error_before_the_decision_frees_the_turn_at_once(inside: str) -> None:
    ledger = Ledger.of(client(), "error", inside)
    with pytest.raises(ValueError, match="oh"), ledger.turn(nothing):
        raise ValueError("oh")
    with ledger.turn(nothing) as turn:  # without waiting for LEASE_SECONDS
        assert turn.number == 2


def test_who_is_too_slow_decides_nothing(inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.of(client(), "slow", inside)
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 0.3)
    with pytest.raises(TurnLost, match="run it again"), ledger.turn(nothing) as turn:
        with ledger.turn(nothing) as other:  # takes this one for dead
            assert other.number == 2
        turn.record("promote", 1, "better", {"champion": 1}, {}, {})
    assert not ledger.entries()
    assert parameters(ledger)["0001.end"] == "nothing was decided; ended by turn 2"


def test_who_is_too_slow_in_carrying_out_undoes_nothing(inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, carried = Ledger.of(client(), "slow hands", inside), []
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 0.3)

    def carry(entry: Entry) -> None:
        carried.append(entry.version)

    with ledger.turn(carry) as turn:
        entry = turn.record("promote", 1, "better", {"champion": 1}, {}, {})
        with ledger.turn(carry) as other:
            carry(other.record("promote", 2, "better still", {"champion": 2}, {}, {}))
        carry(entry)  # too late: version 2 is the champion since
    assert carried == [1, 2, 1, 2]
    assert [entry.version for entry in ledger.entries()] == [1, 2]


def test_what_is_decided_at_the_last_moment_counts(inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, carried = Ledger.of(client(), "last moment", inside), []
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 0.3)
    write = Ledger.write

    def decided_before(self: Ledger, number: int, part: str, value: str) -> bool:
        if value == ledgers.VOID:
            write(self, number, part, json.dumps(decided))
        return write(self, number, part, value)

    decided = {"action": "promote", "version": 7, "reason": "", "by": "", "at": "", "aliases": {"champion": 7}, "tags": {}}
    assert ledger.write(1, "turn", json.dumps({"by": "somebody", "at": "", "id": "1"}))
    monkeypatch.setattr(Ledger, "write", decided_before)
    with ledger.turn(lambda entry: carried.append(entry.version)):
        pass
    assert carried == [7]


def test_a_deleted_ledger_is_named_with_the_remedy(inside: str) -> None:
    ledger = Ledger.of(client(), "removed", inside)
    client().delete_run(ledger.run_id)
    with pytest.raises(TrackingError, match=f"mlflow runs restore --run-id {ledger.run_id}"):
        Ledger.of(client(), "removed", inside)


def test_a_long_reason_and_a_password_fit(inside: str) -> None:
    ledger = Ledger.of(client(), "long", inside)
    with ledger.turn(nothing) as turn:
        turn.record("refuse", 1, "postgres://me:hush@host " + "ü" * 9000, {}, {}, {})
    (entry,) = ledger.entries()
    assert len(entry.reason) <= ledgers.REASON_LENGTH and "hush" not in entry.reason and entry.reason.endswith("ü…")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(ledgers, "POLL_SECONDS", (0.01, 0.05))
    yield
