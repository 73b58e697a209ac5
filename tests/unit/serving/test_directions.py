"""The sliders of a served version: found in the background, once, and for generators of noise alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from atelier.latent import sliders
from atelier.models.pyfunc import ServedGenerator
from atelier.serving import directions
from atelier.serving.app import application
from atelier.serving.directions import Directions
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask
from tests.support.served_process import wait
from tests.support.small_translators import make_checkpoint as make_translator


def served(checkpoint: Path, kept: Directions | None) -> FastAPI:
    champion = Champion("models:/answers/1", ServedGenerator(checkpoint))
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=champion, trouble="")
    return application(follower, Limits(2**16, 16, 1e9, 32), Metrics(), directions=kept)


def asked(app: FastAPI) -> tuple[int, dict[str, Any]]:
    status, content = ask(app, "GET", "/directions")
    return status, json.loads(content)


def test_they_are_found_in_the_background_and_kept(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliders, "SAMPLES", 60)
    app = served(checkpoints[0], Directions(tmp_path))
    assert asked(app)[0] in (200, 202)
    wait(lambda: asked(app)[0] == 200, 30)
    found = asked(app)[1]
    weights = ServedGenerator(checkpoints[0]).generator.sha256
    assert found["weights"] == weights and found["reach"] == 3 and all(len(one["vector"]) == 4 for one in found["sliders"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{weights}.json"]
    monkeypatch.setattr(sliders, "found", lambda *given: pytest.fail("found again"))
    again = served(checkpoints[0], Directions(tmp_path))  # as after a rollback
    wait(lambda: asked(again)[0] == 200, 30)
    assert asked(again)[1] == found


def test_what_cannot_be_found_is_told(checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(served(checkpoints[0], None))[0] == 404
    status, told = asked(served(make_translator(tmp_path / "plain", "cyclegan"), Directions(tmp_path / "kept")))
    assert status == 422 and "a generator of noise" in told["error"]
    monkeypatch.setattr(directions, "kept", lambda *given: (_ for _ in ()).throw(RuntimeError("out of memory")))
    app = served(checkpoints[1], Directions(tmp_path / "kept"))
    wait(lambda: asked(app)[0] == 503, 30)
    assert "out of memory" in asked(app)[1]["error"]
