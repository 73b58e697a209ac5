"""Every way on which a picture of a generator leaves: it is labelled, and signed where a key is configured."""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from PIL import Image
from ruamel.yaml import YAML

from atelier.errors import AtelierError
from atelier.io.files import sha256_file
from atelier.latent import commands
from atelier.models.pyfunc import ServedGenerator
from atelier.provenance import __main__ as command
from atelier.provenance.credentials import Manifest
from atelier.provenance.findings import look
from atelier.provenance.keys import FOLDER, trusted
from atelier.provenance.leaving import watermarked
from atelier.provenance.watermark.key import WATERMARK
from atelier.serving.app import application
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from components.generate import generate
from tests.support.asgi import ask
from tests.support.checkpoints import write_checkpoint
from tests.support.credentials import ABOUT, signed_png, tampered
from tests.support.small import ROOT
from tests.support.style_tasks import style_checkpoint
from tests.support.watermarks import photos, use_secret

URI = "models:/digits/4"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("digits") / "model", 0, ["zero", "one"])


@pytest.fixture(scope="module")
def generator(digits: Path) -> ServedGenerator:
    return ServedGenerator(digits)


@pytest.fixture(scope="module")
def styler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one picture, in any size."""
    return style_checkpoint(tmp_path_factory.mktemp("styler") / "model", "johnson")


@pytest.fixture
def app(generator: ServedGenerator) -> FastAPI:
    follower: Any = SimpleNamespace(uri="models:/digits@champion", current=Champion(URI, generator), trouble="")
    return application(follower, Limits(2**16, 16, 1e9, 32), Metrics())


def manifest_of(file: bytes) -> Manifest:
    """The manifest of a file whose signature is trusted."""
    found = look(file, trusted())
    assert found.credentials and found.credentials.state == "Trusted" and found.credentials.manifest
    assert found.xmp and found.xmp["digital_source_type"] == "trainedAlgorithmicMedia"
    return found.credentials.manifest


def test_what_a_server_answers(key: Path, app: FastAPI, generator: ServedGenerator) -> None:
    weights = generator.generator.sha256
    one = manifest_of(ask(app, "GET", "/image.png", b"seed=7&class=one")[1])
    assert one.about == {"model": URI, "weights": weights, "seed": 7, "class": "one", "truncation": 1.0}
    body = b'{"count": 2, "seed": 3}'
    assert manifest_of(ask(app, "POST", "/generate", body=body, accept=b"image/png")[1]).about["model"] == URI
    with zipfile.ZipFile(io.BytesIO(ask(app, "POST", "/generate", body=body, accept=b"application/zip")[1])) as archive:
        assert [manifest_of(archive.read(name)).about["seed"] for name in archive.namelist()] == [3, 4]
    images = json.loads(ask(app, "POST", "/generate", body=body)[1])["images"]
    assert [manifest_of(base64.b64decode(one["png"])).about["seed"] for one in images] == [3, 4]


def test_a_server_says_who_signs(key: Path, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(ask(app, "GET", "/ready")[1])["images"].startswith("signed by digits, until 20")
    assert b"signed by digits" in ask(app, "GET", "/")[1]
    monkeypatch.delenv(FOLDER)
    assert json.loads(ask(app, "GET", "/ready")[1])["images"] == "not signed: ATELIER_CREDENTIALS names no key"
    found = look(ask(app, "GET", "/image.png", b"seed=7")[1], "")
    assert found.credentials is None and found.about and found.about["model"] == URI and found.xmp


def test_a_server_tells_of_any_image_what_its_marks_say(key: Path, app: FastAPI) -> None:
    file = ask(app, "GET", "/image.png", b"seed=7")[1]
    status, content = ask(app, "POST", "/who", body=file)
    answer = json.loads(content)
    assert status == 200 and answer["credentials"] == "Trusted" and answer["about"]["seed"] == 7
    broken = tampered(file, signed_png())["text edited"]
    assert json.loads(ask(app, "POST", "/who", body=broken)[1])["credentials"] == "Invalid"
    assert ask(app, "POST", "/who", body=b"no image")[0] == 422


def test_a_server_that_watermarks_says_so_and_finds_its_marks(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> tuple[str, Any]:
        ready = json.loads(ask(app, "GET", "/ready")[1])["pixels"]
        photo = io.BytesIO()
        watermarked(photos(1)[0], {"model": URI}).save(photo, "JPEG")
        return ready, json.loads(ask(app, "POST", "/who", body=photo.getvalue())[1])

    ready, found = told()
    assert ready == "not watermarked: ATELIER_WATERMARK names no secret" and found["watermark"] is None
    use_secret(tmp_path, monkeypatch)
    ready, found = told()
    assert ready.startswith("watermarked as digits") and found["watermark"]["name"] == "digits/4"
    assert found["watermark"]["p"] < 1e-6 and "marked as digits version 4" in found["words"][1]


def test_what_mlflow_serves(key: Path, generator: ServedGenerator) -> None:
    (file,) = generator.predict(pd.DataFrame({"seed": [7], "class": ["one"]}), {"format": "png"})
    assert manifest_of(base64.b64decode(file)).about["weights"] == generator.generator.sha256


def test_what_a_step_generates_from_noise(key: Path, digits: Path, tmp_path: Path) -> None:
    made = generate(digits, tmp_path / "out", tmp_path / "cache", count=2, device="cpu")
    assert [manifest_of((tmp_path / "out" / one["file"]).read_bytes()).about["seed"] for one in made] == [0, 1]


@pytest.mark.parametrize("size", ["trained", "own"])
def test_what_a_step_makes_of_pictures_keeps_their_marks(size: Any, key: Path, styler: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(signed_png())
    inputs = [f"image={photo}"]
    (made,) = generate(styler, tmp_path / "out", tmp_path / "cache", inputs=inputs, size=size, device="cpu")
    manifest = manifest_of((tmp_path / "out" / made["file"]).read_bytes())
    (given,) = manifest.ingredients
    assert given.title == "image" and given.manifest and given.manifest.about == ABOUT and not given.failures
    assert manifest.about["inputs"] == {"image": sha256_file(photo)} and manifest.about["weights"] != ABOUT["weights"]


def test_a_second_model_keeps_the_marks_of_the_first(key: Path, digits: Path, styler: Path, tmp_path: Path) -> None:
    generate(digits, tmp_path / "out", tmp_path / "cache", count=1, seed=5, second=str(styler), device="cpu")
    (given,) = manifest_of((tmp_path / "out" / "000000.png").read_bytes()).ingredients
    assert given.manifest and given.manifest.about["seed"] == 5


def test_what_the_latent_commands_write(key: Path, digits: Path, tmp_path: Path) -> None:
    shared = {"checkpoint": digits, "device": "cpu", "label": None, "text": None, "audio": None}
    truncate: Any = SimpleNamespace(output=tmp_path / "a.png", seeds=[range(2)], psi=[0.5, 1.0], **shared)
    commands.truncate(truncate)
    assert manifest_of((tmp_path / "a.png").read_bytes()).about["seeds"] == "[0, 1]"
    walk: Any = SimpleNamespace(output=tmp_path / "b.gif", tiles=1, stops=2, seconds=1, rate=4, seed=5, **shared)
    commands.walk(walk)
    assert manifest_of((tmp_path / "b.gif").read_bytes()).about["seed"] == 5


def test_a_process_that_was_forked_signs_as_its_parent_does(key: Path) -> None:
    signed_png()
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sending.send_bytes(signed_png()))
    child.start()
    assert receiving.poll(20) and manifest_of(receiving.recv_bytes()).about == ABOUT
    child.join()


def test_no_step_that_trains_or_measures_depends_on_it() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    depending = {name for name, stage in stages.items() if any("provenance" in one for one in stage.get("do", stage)["deps"])}
    assert all(name.startswith("register") for name in depending)


def test_the_command_line(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*args: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["provenance", *map(str, args)])
        command.main()
        return capsys.readouterr().out

    assert "export ATELIER_CREDENTIALS=" in told("init", tmp_path / "keys", "--name", "faces", "--organization", "Me")
    (tmp_path / "signed.png").write_bytes(signed_png())
    assert "signed by digits of Atelier's tests, under a root that is trusted" in told("who", tmp_path / "signed.png")
    secret = tmp_path / "keys" / "faces" / "watermark.json"
    assert secret.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(WATERMARK, str(secret))
    watermarked(photos(1)[0], {"model": "models:/faces/3"}).save(tmp_path / "marked.jpg")
    assert "marked as faces version 3 (watermark" in told("who", tmp_path / "marked.jpg")
    assert "no watermark of faces up to version 2" in told("who", tmp_path / "marked.jpg", "--versions", "2")
    small = [tmp_path / f"{number}.png" for number in range(8)]
    for file, photo in zip(small, photos(8, 28), strict=True):
        watermarked(photo, {"model": "models:/faces/3"}).save(file)
    assert "these 8 together:\n  marked as faces version 3 (watermark" in told("who", "--together", *small)
    assert "these 8 together:\n  no watermark of faces up to version 2" in told("who", "--together", "--versions", "2", *small)
    monkeypatch.delenv(WATERMARK)
    with pytest.raises(AtelierError, match="leave --together out"):
        told("who", "--together", *small)
    anchors = tmp_path / "keys" / "faces" / "anchors.pem"
    assert "under no root that is trusted" in told("who", tmp_path / "signed.png", "--anchors", anchors)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "plain.jpg")
    assert "nothing known" in told("who", tmp_path / "plain.jpg")
    (tmp_path / "text").write_text("no image")
    with pytest.raises(AtelierError, match="no image that can be read"):
        told("who", tmp_path / "text")
