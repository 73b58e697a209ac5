"""Another version beside the one in use: one at a time, of the same name alone, and what is said of each."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from atelier.errors import AtelierError
from atelier.metrics.identity import Identity, Measurement
from atelier.models.pyfunc import ServedGenerator
from atelier.registry.versions import MEASUREMENT, NotRegisteredError
from atelier.serving import versions
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.serving.versions import Versions, told
from tests.support.asgi import ask
from tests.support.served_process import pixels

NAME = "models:/answers"
LIMITS = Limits(2**16, 16, 1e9, 32)


class Registry:
    """Versions 1 to 3 of `answers`, of which `loads` notes which were loaded; the third has been tampered with."""

    def __init__(self, checkpoints: list[Path]) -> None:
        self.loads: list[str] = []
        self.checkpoints, self.asked = checkpoints, 0
        self.go = threading.Event()
        self.go.set()

    def find(self, name: str) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"version": number, "name": name} for number in (3, 2, 1)]

    def load(self, uri: str, device: str, folder: Path) -> Champion:
        self.loads.append(uri)
        self.go.wait(30)
        number = int(uri.rpartition("/")[2])
        if number > 3:
            raise NotRegisteredError(f"{uri}: not in the registry")
        if number == 3:
            raise AtelierError(f"{uri}: generator.safetensors is not the one that was registered")
        return Champion(uri, ServedGenerator(self.checkpoints[number - 1], device))


@pytest.fixture
def registry(checkpoints: list[Path]) -> Registry:
    return Registry(checkpoints)


def served(registry: Registry, checkpoints: list[Path], tmp_path: Path) -> FastAPI:
    follower: Any = SimpleNamespace(
        uri=f"{NAME}@champion", current=Champion(f"{NAME}/1", ServedGenerator(checkpoints[0])), trouble=""
    )
    others = Versions(follower.uri, "cpu", tmp_path, registry.find, registry.load)
    return application(follower, LIMITS, Metrics(), versions=others)


def posted(app: FastAPI, version: int) -> tuple[int, bytes]:
    return ask(app, "POST", "/generate", f"version={version}".encode(), b'{"seed": 7, "class": "one"}')


def test_another_version_makes_its_own_image_of_the_same_row(registry: Registry, checkpoints: list[Path], tmp_path: Path) -> None:
    app = served(registry, checkpoints, tmp_path)
    for number in (1, 2):
        status, content = posted(app, number)
        file = base64.b64decode(json.loads(content)["images"][0]["png"])
        generator = ServedGenerator(checkpoints[number - 1])
        expected = generator.generate(generator.read([{"seed": 7, "class": "one"}]))[0, ..., 0]
        assert status == 200 and np.abs(pixels(file) - expected.astype(int)).max() <= 1
    assert registry.loads == [f"{NAME}/2"], "the version in use is not loaded once more"
    assert posted(app, 2)[0] == 200 and len(registry.loads) == 1
    assert json.loads(ask(app, "GET", "/model", b"version=2")[1])["model"] == f"{NAME}/2"
    assert json.loads(ask(app, "GET", "/model")[1])["model"] == f"{NAME}/1"


def test_one_other_version_at_a_time(
    registry: Registry, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(versions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    app = served(registry, checkpoints, tmp_path)
    assert posted(app, 2)[0] == 200
    status, content = posted(app, 3)
    assert status == 503 and "version 2 was just asked for" in json.loads(content)["error"] and len(registry.loads) == 1
    now[0] += versions.STAYS_SECONDS
    status, content = posted(app, 3)
    assert status == 503 and "is not the one that was registered" in json.loads(content)["error"]
    assert posted(app, 2)[0] == 200, "what cannot be loaded takes nobody's place for long"
    assert registry.loads == [f"{NAME}/{number}" for number in (2, 3, 2)]


def test_a_registry_that_hangs_keeps_nobody_waiting(
    registry: Registry, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "PATIENCE_SECONDS", 0.05)
    registry.go.clear()
    app = served(registry, checkpoints, tmp_path)
    status, content = posted(app, 2)
    assert status == 503 and "is being fetched" in json.loads(content)["error"]
    assert posted(app, 1)[0] == 200
    registry.go.set()
    monkeypatch.setattr(versions, "PATIENCE_SECONDS", 30.0)
    assert posted(app, 2)[0] == 200 and len(registry.loads) == 1


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [(b"version=9", 404, "not in the registry"), (b"version=x", 422, "GET /versions"), (b"version=-1", 422, "GET /versions")],
)
def test_what_is_no_version_of_this_name_is_refused(
    query: bytes, status: int, said: str, registry: Registry, checkpoints: list[Path], tmp_path: Path
) -> None:
    found, content = ask(served(registry, checkpoints, tmp_path), "POST", "/generate", query, b'{"seed": 1}')
    assert found == status and said in json.loads(content)["error"]


def test_a_server_of_one_version_says_so(checkpoints: list[Path]) -> None:
    follower: Any = SimpleNamespace(uri=f"{NAME}@champion", current=Champion(f"{NAME}/1", ServedGenerator(checkpoints[0])))
    app = application(follower, LIMITS, Metrics())
    assert ask(app, "GET", "/versions")[0] == 404 and ask(app, "GET", "/model", b"version=2")[0] == 404
    assert json.loads(ask(app, "GET", "/model")[1])["compares"] is False


def test_the_list_is_asked_for_once_in_a_while(registry: Registry, checkpoints: list[Path], tmp_path: Path) -> None:
    app = served(registry, checkpoints, tmp_path)
    for _ in range(3):
        status, content = ask(app, "GET", "/versions")
        assert status == 200 and [one["version"] for one in json.loads(content)["versions"]] == [3, 2, 1]
    assert registry.asked == 1


def test_numbers_are_told_with_what_moves_them() -> None:
    identity = Identity("frechet_a", "a", "0" * 64, "bilinear", 100, "seeds", "1" * 64, 100, 0, "", "frechet")
    of = lambda value, identity: json.dumps(Measurement(value, 2.0, identity, False).to_dict())  # noqa: E731
    other = Identity(**{**vars(identity), "samples": 200})
    versions: list[Any] = [
        SimpleNamespace(name="answers", version="4", tags={f"{MEASUREMENT}frechet_a": of(100.0, one)})
        for one in (identity, identity, other)
    ]
    numbers = [told(one, ["champion"])["numbers"] for one in versions]
    (first,), (same,), (otherwise,) = numbers
    assert first["identity"] == same["identity"] != otherwise["identity"]
    assert first["interval"] == pytest.approx((96.08, 103.92)) and first["text"].startswith("100 (96.08")
    bare: Any = SimpleNamespace(name="answers", version="1", tags={"gate.withdrawn": "true"})
    assert told(bare, []) == {"version": 1, "aliases": [], "gate": "rolled back", "numbers": []}
