"""Many processes that register and promote at once: one champion, the best one, and a complete record."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from atelier.registry.ledger import Entry
from atelier.registry.promotion import judge, promote, rollback
from atelier.registry.versions import measurements
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from tests.support.gate_cases import GATE, numbers
from tests.support.mlflow_servers import Server
from tests.support.registry_play import Name, not_needed
from tests.support.small import ROOT

PROCESSES = 20
FORK = multiprocessing.get_context("fork")  # what is imported already costs nothing


def register(name: str, distance: float, barrier: Barrier) -> None:
    """What a step does: a version with these numbers, and the gate's decision about it."""
    barrier.wait()
    play = Name(name)
    judge(play.ledger, play.add(numbers(distance, 0.1)), GATE, not_needed)


def interfere(name: str, turn: int, barrier: Barrier) -> None:
    """What people do meanwhile, as often as they are told that it cannot be."""
    barrier.wait()
    play = Name(name)
    for action in range(2):
        try:
            if (turn + action) % 2:
                rollback(play.ledger, f"by {turn}")
            else:
                promote(play.ledger, client().get_model_version(name, str(turn % 3 + 1)), f"by {turn}")
        except TrackingError as error:
            assert "no previous champion" in str(error) or "is the champion already" in str(error), error


def at_once(name: str, work: list[tuple[Any, Any]]) -> None:
    barrier = FORK.Barrier(len(work))
    started = [FORK.Process(target=target, args=(name, value, barrier)) for target, value in work]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0] * len(work)


def replayed(entries: list[Entry]) -> dict[str, int]:
    """The aliases that the decisions in their order leave."""
    aliases: dict[str, int] = {}
    for entry in entries:
        for alias, number in entry.aliases.items():
            aliases.pop(alias, None) if number is None else aliases.__setitem__(alias, number)
    return aliases


def check(name: Name, distances: dict[int, float]) -> None:
    """Each decision was right when it was made, and the registry is as they left it."""
    entries = name.ledger.entries()
    assert all(entry.end.startswith("done") for entry in entries)
    assert name.aliases == replayed(entries)
    champion: int | None = None
    for entry in entries:
        before = distances[champion] if champion else float("inf")
        assert (entry.action == "promote") == (distances[entry.version] < before - 0.5), entry
        champion = entry.aliases.get("champion", champion)


def test_twenty_processes_leave_the_best_as_the_only_champion(server: Server) -> None:
    name = f"crowd-{uuid.uuid4().hex[:8]}"
    order = [(7 * n) % PROCESSES for n in range(PROCESSES)]
    at_once(name, [(register, 20.0 + 2 * place) for place in order])
    play = Name(name)
    versions = client().search_model_versions(f"name = '{name}'")
    distances = measured(versions)
    assert sorted(distances) == list(range(1, PROCESSES + 1)) and sorted(distances.values())[0] == 20.0
    assert distances[play.aliases["champion"]] == 20.0
    assert len(play.ledger.entries()) == PROCESSES
    assert {one.tags["gate.verdict"] for one in versions} <= {"promoted", "refused"}
    check(play, distances)
    runs = client().search_runs([client().get_run(play.ledger.run_id).info.experiment_id], f"tags.`atelier.ledger_of` = '{name}'")
    assert [run.info.run_id for run in runs] == [play.ledger.run_id], "one ledger, however many began it at once"


def test_registrations_promotions_and_rollbacks_at_once(server: Server) -> None:
    name = f"mixed-{uuid.uuid4().hex[:8]}"
    for distance in (90.0, 80.0, 70.0):
        Name(name).judged(numbers(distance, 0.1))
    work: list[tuple[Any, Any]] = [(register, 20.0 + 2 * n) for n in range(PROCESSES // 2)]
    at_once(name, work + [(interfere, n) for n in range(PROCESSES // 2)])
    play, entries = Name(name), Name(name).ledger.entries()
    assert all(entry.end.startswith("done") for entry in entries) and len({entry.number for entry in entries}) == len(entries)
    assert play.aliases == replayed(entries) and "champion" in play.aliases
    judged = [entry.version for entry in entries if not entry.reason.startswith("by ")]
    assert sorted(judged) == list(range(1, 4 + PROCESSES // 2))


def test_processes_that_share_a_sqlite_file_without_a_server(tmp_path: Path) -> None:
    """Each process is new: connections to a SQLite file must not be inherited."""
    script = tmp_path / "register.py"
    script.write_text(
        "import sys\n"
        "from tests.support.gate_cases import GATE, numbers\n"
        "from tests.support.registry_play import Name, not_needed\n"
        "from atelier.registry.promotion import judge\n"
        "for value in sys.argv[1:]:\n"
        "    play = Name('shared-file')\n"
        "    judge(play.ledger, play.add(numbers(float(value), 0.1)), GATE, not_needed)\n"
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    shares = [[str(20 + 2 * (4 * n + m)) for m in (2, 0, 3, 1)] for n in (1, 0, 2)]
    started = [
        subprocess.Popen([sys.executable, str(script), *share], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for share in shares
    ]
    told = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(shares), told
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.chdir(tmp_path)
        play = Name("shared-file")
        distances = measured(client().search_model_versions("name = 'shared-file'"))
        assert len(distances) == 12 and distances[play.aliases["champion"]] == 20.0
        assert len(play.ledger.entries()) == 12
        check(play, distances)


def measured(versions: list[Any]) -> dict[int, float]:
    """The distance of each version by its number."""
    return {int(one.version): measurements(one)["frechet_efficientnet_lite0"].value for one in versions}
