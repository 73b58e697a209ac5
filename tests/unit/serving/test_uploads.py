"""What strangers may send: what is no plain picture is refused with the remedy, and the server goes on; nothing of it stays."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atelier.detection import model
from atelier.detection.detectors import Spectrum
from atelier.models.pyfunc import ServedGenerator
from atelier.serving.app import application
from atelier.serving.decoding import Decoders
from atelier.serving.detection import ServedDetector
from atelier.serving.follow import Champion
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from tests.support.asgi import ask, headers
from tests.support.credentials import make_key, png_of
from tests.support.detectors import write_detector
from tests.support.small_translators import make_checkpoint

SIDE = 32
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
PLACE = "in the garden behind the house"
TINY_FRAME = b"\x2c" + bytes(4) + b"\x01\0\x01\0\0" + b"\x02\x02\x44\x01\0"  # a pixel, as GIF 89a compresses it
Send = Callable[[str, bytes], tuple[int, Any]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = tmp_path_factory.mktemp("uploads")
    write_detector(folder / "detector", Spectrum())
    detector = ServedDetector("models:/toy/1", model.load(folder / "detector"))
    champion = Champion("models:/photos/1", ServedGenerator(make_checkpoint(folder / "plain", "cyclegan")))
    follower: Any = SimpleNamespace(uri="models:/photos@champion", current=champion, trouble="")
    return application(follower, Limits(2**22, 16, 1e9, 32), Metrics(), detector, decoders=Decoders(1))


@pytest.fixture(scope="module")
def send(app: FastAPI) -> Send:
    def sent(path: str, file: bytes) -> tuple[int, Any]:
        body = json.dumps({"image": base64.b64encode(file).decode()}).encode() if path == "/generate" else file
        status, content = ask(app, "POST", path, body=body)
        return status, json.loads(content)

    return sent


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)


HOSTILE = {
    "nothing": b"",
    "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "PDF": b"%PDF-1.7\n",
    "web page": b"<!DOCTYPE html><html></html>",
    "archive": b"PK\x03\x04" + bytes(30),
    "PostScript, which starts a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n",
    "cut off": encoded(PHOTO)[:-60],
    "a bomb": png_of([header(60_000, 60_000), (b"IDAT", zlib.compress(bytes(2**20))), (b"IEND", b"")]),
    "text that grows": png_of([header(SIDE, SIDE)] + [(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))] * 9 + [(b"IEND", b"")]),
    "chunks without end": png_of([header(SIDE, SIDE)]) + b"\0\0\0\0noNe\x84\xa9\x9d\xd8" * 200_000,
    "a size and nothing": png_of([header(SIDE, SIDE), (b"IEND", b"")]),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("path", ["/generate", "/who", "/detect"])
def test_what_is_no_plain_picture_is_refused_with_the_remedy(path: str, kind: str, send: Send) -> None:
    if (path, kind) in (("/who", "a size and nothing"), ("/who", "cut off"), ("/who", "chunks without end")):
        assert send(path, HOSTILE[kind])[0] in (200, 422)  # without a secret and a log its pixels are not decoded
        return
    status, told = send(path, HOSTILE[kind])
    assert status == 422 and "give " in told["error"] and " at 0x" not in told["error"] and len(told["error"]) < 600, told
    if kind in ("SVG", "PDF"):
        assert "a drawing or a document, to be exported as PNG" in told["error"]


@pytest.mark.parametrize("path", ["/generate", "/who", "/detect"])
def test_a_plain_picture_is_taken_after_all_of_them(path: str, send: Send) -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        assert send(path, encoded(PHOTO, form))[0] == 200


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_moves_is_no_picture_to_translate(form: str, send: Send) -> None:
    moving = encoded(PHOTO, form, save_all=True, append_images=[PHOTO.rotate(90)])
    for path in ("/generate", "/detect"):
        status, told = send(path, moving)
        assert status == 422 and "animated" in told["error"]
    assert send("/who", moving)[0] == 200, "walks are labelled animations"


def test_a_hundred_thousand_frames_are_not_read_one_by_one(send: Send) -> None:
    gif = b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0x80, 0, 0) + bytes(6) + TINY_FRAME * 100_000 + b"\x3b"
    assert send("/who", gif)[0] == 200
    for path in ("/generate", "/detect"):
        status, told = send(path, gif)
        assert status == 422 and "give " in told["error"]


def test_nothing_of_a_file_but_its_pixels_is_in_an_answer(send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif, text = Image.Exif(), PngInfo()
    exif[0x010E] = PLACE  # ImageDescription
    text.add_text("Comment", PLACE)
    files = [
        encoded(PHOTO, "JPEG", exif=exif, comment=PLACE),
        encoded(PHOTO, "PNG", exif=exif, pnginfo=text, icc_profile=PLACE.encode()),
        encoded(PHOTO, "WEBP", lossless=True, exif=exif, xmp=PLACE.encode()),
    ]
    assert all(PLACE.encode() in file for file in files)
    make_key(tmp_path, monkeypatch)  # a signed answer names what it was made of
    for file in files:
        status, told = send("/generate", file)
        answered = base64.b64decode(told["images"][0]["png"])
        assert status == 200 and b"c2pa" in answered and PLACE not in json.dumps(told) and PLACE.encode() not in answered
        assert not any(PLACE in json.dumps(send(path, file)[1]) for path in ("/who", "/detect"))


def test_no_answer_sets_a_cookie(app: FastAPI) -> None:
    file = encoded(PHOTO)
    row = json.dumps({"image": base64.b64encode(file).decode()}).encode()
    asked = [("GET", path, b"") for path in ("/", "/model", "/ready", "/health", "/metrics", "/latent", "/nothing")]
    for method, path, body in [*asked, ("POST", "/generate", row), ("POST", "/who", file), ("POST", "/detect", file)]:
        assert "set-cookie" not in headers(app, method, path, body=body)
