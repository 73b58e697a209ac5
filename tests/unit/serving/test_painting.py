"""Who paints the page's pictures, and what a browser is given for it; one paints in tests/integration/serving."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from atelier.models.pyfunc import ServedGenerator
from atelier.serving import browser_runtime, halves
from atelier.serving.app import application
from atelier.serving.browser_runtime import LICENSE, MODULE, WASM
from atelier.serving.follow import Champion
from atelier.serving.halves import Halves, by_browser, by_server
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.serving.page import FILES, POLICY, WORKER, WORKER_POLICY, Page
from tests.support.asgi import ask, headers
from tests.support.small_translators import make_checkpoint as make_translator

PAINTS = b"a module", b"what it loads"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `fetch` writes it, with other files in it."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name, content in zip((MODULE, WASM), PAINTS, strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    (folder / "NOTICE.txt").write_text(LICENSE, encoding="utf-8")
    monkeypatch.setattr(browser_runtime, "FOLDER", folder)
    return folder


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that would export halves, which they write at once."""
    commands = []

    def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[-1])
        folder.mkdir()
        for name in ("mapping", "synthesis"):
            (folder / f"{name}.onnx").write_text(f"the {name}")
        return subprocess.CompletedProcess(command, 0, "done\n", "")

    monkeypatch.setattr(halves.subprocess, "run", run)
    return commands


def served(champion: Champion) -> FastAPI:
    follower: Any = SimpleNamespace(uri="models:/answers@champion", current=champion, trouble="")
    return application(follower, Limits(2**16, 16, 1e9, 32), Metrics())


def painted(folder: Path) -> Champion:
    generator = ServedGenerator(folder)
    return Champion("models:/answers/1", generator, by_browser(folder, generator))


def told(app: FastAPI, path: str) -> Any:
    return json.loads(ask(app, "GET", path)[1])


def test_weights_stay_with_the_server_unless_it_is_told_otherwise(checkpoints: list[Path], runtime: Path) -> None:
    generator = ServedGenerator(checkpoints[0])
    assert by_server(checkpoints[0], generator) == Champion("models:/answers/1", generator).paint == "server"
    app = served(Champion("models:/answers/1", generator))
    assert told(app, "/model")["paint"] is None and told(app, "/ready")["paint"] == "server"
    assert ask(app, "GET", f"/halves/{'0' * 64}.onnx")[0] == 404
    assert ask(app, "GET", f"/{browser_runtime.ADDRESS}/{WASM}")[0] == 404


def test_a_browser_gets_both_halves_under_their_hash(
    checkpoints: list[Path], runtime: Path, exported: list[Sequence[str]]
) -> None:
    app = served(painted(checkpoints[0]))
    paint = told(app, "/model")["paint"]
    assert told(app, "/ready")["paint"] == "browser"
    for name in ("mapping", "synthesis"):
        content = f"the {name}".encode()
        assert paint[name] == f"halves/{sha256(content).hexdigest()}.onnx"
        assert ask(app, "GET", f"/{paint[name]}") == (200, content)
    assert "trainedAlgorithmicMedia" in paint["xmp"] and "models:/answers/1" in paint["xmp"]
    for wrong in ("mapping.onnx", "../generator.safetensors", f"{'0' * 64}.onnx"):
        assert ask(app, "GET", f"/halves/{wrong}")[0] == 404
    painted(checkpoints[0])
    assert len(exported) == 1, "they are made once"


def test_the_runtime_is_sent_as_the_browser_takes_it(checkpoints: list[Path], runtime: Path, exported: list[Any]) -> None:
    app = served(painted(checkpoints[0]))
    paint = told(app, "/model")["paint"]
    for name, content, media in zip(("runtime", "wasm"), PAINTS, ("text/javascript", "application/wasm"), strict=True):
        plain, packed = (headers(app, "GET", f"/{paint[name]}", encoding=encoding) for encoding in ("br", "br, gzip"))
        assert plain["content-type"].startswith(media) and "immutable" in plain["cache-control"]
        assert ask(app, "GET", f"/{paint[name]}") == (200, content) and int(plain["content-length"]) == len(content)
        assert int(packed["content-length"]) == len(gzip.compress(content)) and packed["content-encoding"] == "gzip"
        assert "content-encoding" not in plain and plain["vary"] == "Accept-Encoding"
    assert ask(app, "GET", f"/{Path(paint['runtime']).parent}/NOTICE.txt")[0] == 404


def test_the_worker_alone_may_compile(checkpoints: list[Path]) -> None:
    app = served(Champion("models:/answers/1", ServedGenerator(checkpoints[0])))
    hashed = Page().hash
    policies = {name: headers(app, "GET", f"/{FILES}/{hashed}/{name}")["content-security-policy"] for name in Page().files}
    assert policies.pop(WORKER) == WORKER_POLICY and set(policies.values()) == {POLICY}
    rules = dict(rule.split(" ", 1) for rule in WORKER_POLICY.split("; "))
    assert rules == {"default-src": "'none'", "script-src": "'self' 'wasm-unsafe-eval'", "connect-src": "'self'"}
    assert WORKER not in ask(app, "GET", "/")[1].decode()


def test_the_server_says_why_it_paints(
    checkpoints: list[Path], runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert painted(make_translator(tmp_path / "plain", "cyclegan")).paint == (
        "server: this generator takes image, and browsers paint from noise and a class"
    )
    failed = subprocess.CompletedProcess([], 1, "", "a warning\nerror: no ONNX form\n")
    monkeypatch.setattr(halves.subprocess, "run", lambda command, **options: failed)
    assert painted(checkpoints[1]).paint == "server: no ONNX form" and "no ONNX form; the server paints" in caplog.text
    (runtime / "NOTICE.txt").write_text("onnxruntime-web@1.0.0")
    champion = painted(checkpoints[1])
    assert "runtime: holds another version than onnxruntime-web@" in str(champion.paint)
    assert "atelier.serving.browser_runtime fetches it" in told(served(champion), "/ready")["paint"]
    (runtime / "NOTICE.txt").unlink()
    assert "is not there" in str(painted(checkpoints[1]).paint) and not isinstance(champion.paint, Halves)


def test_latents_of_several_seeds(checkpoints: list[Path], tmp_path: Path) -> None:
    app = served(Champion("models:/answers/1", ServedGenerator(checkpoints[0])))
    status, content = ask(app, "POST", "/latent", body=b'{"rows": [{"seed": 7}, {"seed": 9, "class": "one", "truncation": 0.5}]}')
    both = json.loads(content)["latents"]
    assert status == 200 and json.loads(content)["model"] == "models:/answers/1"
    for one, query in zip(both, (b"seed=7", b"seed=9&class=one&truncation=0.5"), strict=True):
        alone = json.loads(ask(app, "GET", "/latent", query)[1])
        assert one == {"row": alone["row"], "latent": alone["latent"]} and len(one["latent"]) == 4
    assert ask(app, "POST", "/latent", body=b'{"count": 17}')[0] == 422
    for wrong in (b"[]", b'{"latent": [1, 2, 3, 4], "class": "one"}', b'{"image": "a picture"}'):
        assert ask(app, "POST", "/latent", body=wrong)[0] == 422
