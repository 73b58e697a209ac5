"""A picture that is sent as it is, with the square of it that is used: what is made of it names it with its credentials."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from atelier.models.pyfunc import ServedGenerator
from atelier.provenance.findings import look
from atelier.provenance.leaving import labelled
from atelier.serving.app import application
from atelier.serving.decoding import Decoders
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask
from tests.support.credentials import ABOUT, make_key
from tests.support.served_process import pixels
from tests.support.small_translators import make_checkpoint

SIDE = 32
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    return Champion("models:/photos/1", ServedGenerator(make_checkpoint(tmp_path_factory.mktemp("plain") / "model", "cyclegan")))


@pytest.fixture(scope="module")
def app(champion: Champion) -> FastAPI:
    follower: Any = SimpleNamespace(uri="models:/photos@champion", current=champion, trouble="")
    return application(follower, Limits(2**22, 16, 1e9, 32), Metrics(), decoders=Decoders(1))


def sent(app: FastAPI, file: bytes, square: Any) -> tuple[int, Any]:
    row = {"image": {"file": base64.b64encode(file).decode(), "square": square}}
    status, content = ask(app, "POST", "/generate", body=json.dumps(row).encode())
    return status, json.loads(content)


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_what_is_made_of_a_square_names_the_file_that_it_is_of(
    app: FastAPI, champion: Champion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path, monkeypatch)
    photo = labelled(Image.fromarray(PIXELS), ABOUT)
    status, told = sent(app, photo, [50, 5, SIDE])
    assert status == 200
    file = base64.b64decode(told["images"][0]["png"])
    square = base64.b64encode(as_png(Image.fromarray(PIXELS[5 : 5 + SIDE, 50 : 50 + SIDE]))).decode()
    expected = champion.generator.generate(champion.generator.read([{"image": square}]))[0]
    assert np.abs(pixels(file) - expected.astype(int)).max() <= 1
    found = look(file, "")
    assert found.credentials and found.credentials.manifest
    (given,) = found.credentials.manifest.ingredients
    assert given.title == "image" and given.manifest and given.manifest.about == ABOUT and not given.failures


def test_a_square_is_that_of_the_picture_as_it_is_seen(app: FastAPI, champion: Champion) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turned by a quarter to the right
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    turned = np.rot90(PIXELS, -1)  # [96, 40]
    status, told = sent(app, file.getvalue(), [0, 60, SIDE])
    square = base64.b64encode(as_png(Image.fromarray(np.ascontiguousarray(turned[60 : 60 + SIDE, :SIDE])))).decode()
    expected = champion.generator.generate(champion.generator.read([{"image": square}]))[0]
    assert status == 200 and np.abs(pixels(base64.b64decode(told["images"][0]["png"])) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("square", "said"),
    [
        ([80, 0, SIDE], "does not lie within its 96 by 40 pixels"),
        ([0, 20, SIDE], "does not lie within its 96 by 40 pixels"),
        ([-1, 0, SIDE], "whole pixels of the file"),
        ([0, 0, 0], "whole pixels of the file"),
        ([0, 0, 1.5], "whole pixels of the file"),
        ([0, 0], "whole pixels of the file"),
        ("all", "whole pixels of the file"),
    ],
)
def test_what_is_no_square_of_it_is_refused(app: FastAPI, square: Any, said: str) -> None:
    status, told = sent(app, as_png(Image.fromarray(PIXELS)), square)
    assert status == 422 and said in told["error"]


def test_a_large_picture_is_not_decoded(app: FastAPI) -> None:
    status, told = sent(app, as_png(Image.new("1", (6000, 6000))), [0, 0, SIDE])
    assert status == 422 and "33,554,432 pixels" in told["error"]
