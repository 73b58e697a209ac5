"""An MLflow server that dies: in the middle of a promotion, and for a while during training."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.registry import ledger as ledgers
from atelier.registry.promotion import judge
from atelier.tracking import sender
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from tests.support.gate_cases import GATE, numbers
from tests.support.mlflow_servers import Proxy, Server
from tests.support.registry_play import Name, not_needed

OUTAGE_SECONDS = 3.0  # in which what is kept is tried four times and more, RETRY_SECONDS after each other


@pytest.mark.parametrize(
    ("server", "moment"),
    [
        ("sqlite", "decision, answered by nobody"),
        ("sqlite", "before the champion"),
        ("sqlite", "after the champion"),
        ("postgres", "before the champion"),  # what is written by then outlives MLflow there, too
    ],
    indirect=["server"],
)
def test_a_server_that_dies_in_a_promotion_leaves_one_champion(
    server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The re-run finishes what had been decided, before anything else."""
    monkeypatch.setattr(ledgers, "LEASE_SECONDS", 1.0)
    name = Name(f"dying-{uuid.uuid4().hex[:8]}")
    name.judged(numbers(20))
    number = name.add(numbers(10))
    seen: list[str] = []

    def dies(path: str, when: str) -> None:
        seen.append(path)
        decided = sum(one.endswith("log-parameter") for one in seen) == 2
        aliases = sum(one.endswith("/alias") for one in seen)
        due = {
            "decision, answered by nobody": when == "after" and decided and path.endswith("log-parameter"),
            "before the champion": when == "before" and aliases == 2,
            "after the champion": when == "after" and aliases == 2,
        }[moment]
        if due:
            server.kill()
            raise BrokenPipeError

    if moment.startswith("before"):
        proxy.before = lambda _, path: dies(path, "before")
    else:
        proxy.after = lambda _, path: dies(path, "after")
    with monkeypatch.context() as through:
        through.setenv("MLFLOW_TRACKING_URI", proxy.uri)
        with pytest.raises(TrackingError, match="cannot be used") as told:
            judge(Name(name.name).ledger, number, GATE, not_needed)
        assert len(str(told.value).splitlines()) == 1
    server.start()
    assert name.aliases.get("champion") == (number if moment == "after the champion" else 1)
    assert judge(name.ledger, number, GATE, not_needed).outcome == "kept", "the decision that was written has been carried out"
    assert name.aliases == {"champion": number, "previous": 1} and name.tags(number)["gate.verdict"] == "promoted"
    assert [(entry.action, entry.version) for entry in name.ledger.entries()] == [("promote", 1), ("promote", number)]
    assert all(entry.end for entry in name.ledger.entries())


def test_training_goes_on_without_mlflow_and_what_it_said_arrives_in_order(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0.5)
    picture = tmp_path / "grid.png"
    Image.new("L", (8, 8)).save(picture)
    slowest = 0.0
    with step_run("train", f"outage {uuid.uuid4().hex[:8]}", {"lr": 1}) as run:

        def train(first: int, last: int) -> None:
            nonlocal slowest
            for images in range(first, last):
                began = time.monotonic()
                run.log_metrics({"loss": float(images)}, images)
                if images % 20 == 0:
                    run.log_picture("samples", picture, images)
                slowest = max(slowest, time.monotonic() - began)

        train(0, 40)
        while run.run_id is None:
            time.sleep(0.1)
        server.kill()
        away = time.monotonic()
        train(40, 80)
        while time.monotonic() < away + OUTAGE_SECONDS:
            time.sleep(0.1)
        train(80, 120)
        server.start()
        train(120, 140)
    assert slowest < 1.0, "a step waits for no server"
    history: list[Any] = client().get_metric_history(str(run.run_id), "loss")
    arrived = sorted(history, key=lambda one: one.timestamp)
    assert sorted(one.step for one in history) == list(range(140)) and all(one.value == one.step for one in history)
    assert [one.timestamp for one in sorted(arrived, key=lambda one: one.step)] == [one.timestamp for one in arrived]
    pictures = [file.path for file in client().list_artifacts(str(run.run_id), "images")]
    assert len([path for path in pictures if path.endswith(".png")]) == 7
    assert client().get_run(str(run.run_id)).info.status == "FINISHED"
    messages = [record.message for record in caplog.records if record.name == "atelier.tracking"]
    assert [("cannot be used" in text, "answers again" in text) for text in messages] == [(True, False), (False, True)]
