"""Uploads are decoded in a process of their own: it shows what Pillow shows here, and what ends it is refused, and no more."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.process import process as processed
from atelier.io.sound import log_mel
from atelier.io.transparency import opaque
from atelier.models.given import recipe_of
from atelier.networks.inputs import Label, LabelMap, Picture, Sound
from atelier.provenance.reading import read
from atelier.serving.decoder import rebuilt
from atelier.serving.decoder_process import DecoderProcess, StartError, UndecodableError
from atelier.serving.decoding import Decoders
from atelier.serving.limits import Refused
from tests.support.annotated import wav
from tests.support.credentials import signed_png
from tests.support.served_process import wait

SIDE = 12
VALUES = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
CALM = {"anchors": "", "pixels": True, "do": "marks"}


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    color = Image.fromarray(VALUES)
    paletted, rgb = color.convert("RGB").quantize(20), color.convert("RGB")
    made = {mode: encoded(color.convert(mode)) for mode in ("1", "L", "LA", "RGB", "RGBA")}
    made |= {form: encoded(rgb, form) for form in ("JPEG", "WEBP")} | {"WebP, transparent": encoded(color, "WEBP", lossless=True)}
    made |= {"CMYK": encoded(rgb.convert("CMYK"), "JPEG"), "gray JPEG": encoded(rgb.convert("L"), "JPEG")}
    made |= {"16 bits": encoded(Image.fromarray(VALUES[..., 0].astype(np.uint16) * 257)), "palette": encoded(paletted)}
    made |= {
        "one transparent": encoded(paletted, transparency=3),
        "alpha by color": encoded(paletted, transparency=bytes(range(20))),
    }
    return made | {"transparent color": encoded(rgb, transparency=tuple(map(int, VALUES[0, 0, :3])))}


@pytest.fixture(scope="module")
def process() -> Iterator[DecoderProcess]:
    yield DecoderProcess()


@pytest.fixture(scope="module")
def decoders() -> Decoders:
    return Decoders(1)


@pytest.mark.parametrize("kind", pictures())
def test_a_picture_is_what_it_is_here(kind: str, process: DecoderProcess) -> None:
    file = pictures()[kind]
    found = rebuilt(*process.answer({"do": "picture", "side": SIDE, "signed": False}, file))
    with Image.open(io.BytesIO(file)) as here:
        here.load()
        assert (found.mode, found.size, found.format) == (here.mode, here.size, here.format)
        assert found.has_transparency_data == here.has_transparency_data and found.tobytes() == here.tobytes()
        for mode in ("L", "RGB"):
            assert opaque(found, mode, "#336699").tobytes() == opaque(here, mode, "#336699").tobytes()


def test_rows_are_read_as_without_it(decoders: Decoders) -> None:
    classes = ["sky", "face", "hair"]
    kinds = {
        "image": Picture(channels=3, resolution=SIDE, background="#102030"),
        "map": LabelMap(classes=classes, colors=["#0000ff", "#ff0000", "#00ff00"], resolution=SIDE),
        "audio": Sound(bands=40, frames=64),
        "label": Label(classes=3),
    }
    generator: Any = SimpleNamespace(info=SimpleNamespace(takes=kinds, classes=classes))
    indexed = Image.fromarray(VALUES[..., 0] % 3)
    row = {"image": encoded(Image.fromarray(VALUES)), "map": encoded(indexed), "audio": wav(440.0)}
    given: dict[str, Any] = {name: base64.b64encode(file).decode() for name, file in row.items()}
    (found,) = asyncio.run(decoders.rows(generator, [given | {"class": 2}]))
    assert found["class"] == 2
    for name, file in row.items():
        assert found[name].file == file
        assert kinds[name].read(found[name], classes).tensor.equal(kinds[name].read(given[name], classes).tensor)
    assert asyncio.run(decoders.rows(generator, [{"image": "no base64!", "audio": 7}])) == [{"image": "no base64!", "audio": 7}]
    with pytest.raises(Refused, match=r"row 1: image is .*; give a PNG, JPEG or WebP file of 12 by 12 .* it is of 5 by 5 pixels"):
        asyncio.run(decoders.rows(generator, [given, {"image": base64.b64encode(encoded(Image.new("L", (5, 5)))).decode()}]))


def test_marks_squares_and_recordings_are_what_they_are_here(decoders: Decoders, process: DecoderProcess) -> None:
    for file in (signed_png(), *pictures().values()):
        here, found = read(file, "", True), asyncio.run(decoders.marks(file, "", True))
        assert (found.claims, found.about, found.xmp) == (here.claims, here.about, here.xmp)
        assert here.luminance is not None and np.array_equal(found.luminance, here.luminance)  # type: ignore[arg-type]
    assert asyncio.run(decoders.marks(file, "", False)).luminance is None
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    turned = encoded(Image.fromarray(VALUES[:8, :, :3]), "JPEG", exif=exif)
    recipe = recipe_of(Picture(channels=3, resolution=6))
    assert asyncio.run(decoders.square(turned, recipe)).tobytes() == processed(turned, recipe).pixels
    told, sound = process.answer({"do": "sound"}, wav(440.0))
    assert np.array_equal(np.frombuffer(sound, "<f4").reshape(told["shape"]), log_mel(wav(440.0)))


def large(side: int = 5700) -> bytes:
    return encoded(Image.new("RGB", (side, side)), compress_level=1)


def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_is_read() -> None:
    process = DecoderProcess(memory=200 * 2**20)
    with pytest.raises(UndecodableError, match="it takes more than 200 MiB to decode") as refused:
        process.answer(CALM, large())
    assert refused.value.reason == "decoder" and not process.alive
    few = Decoders(1, memory=200 * 2**20)
    with pytest.raises(Refused, match=r"no image that can be read \(it takes more than 200 MiB .*give one of PNG"):
        asyncio.run(few.marks(large(), "", True))
    assert asyncio.run(few.marks(signed_png(), "", False)).about


def test_a_file_that_takes_too_long_is_refused() -> None:
    process = DecoderProcess(seconds=0.02)
    with pytest.raises(UndecodableError, match=r"it takes more than 0\.02 s to decode"):
        process.answer(CALM, large())
    assert not process.alive


def test_a_process_that_hangs_is_killed_and_replaced() -> None:
    process = DecoderProcess(seconds=1.0)
    os.kill(process.pid, signal.SIGSTOP)
    for content in (b"small", bytes(2**22)):  # fits into the connection, and does not
        with pytest.raises(UndecodableError, match="it takes more than 1 s to decode"):
            process.answer(CALM, content)
        assert not process.alive
        process = DecoderProcess(seconds=1.0)
        os.kill(process.pid, signal.SIGSTOP)


def children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_no_file_is_blamed_for_a_process_that_was_killed_before() -> None:
    decoders, others = Decoders(1), children()
    asyncio.run(decoders.marks(signed_png(), "", False))
    (before,) = children() - others
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert asyncio.run(decoders.marks(signed_png(), "", False)).about


def test_it_has_no_secrets_and_no_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "ATELIER_WATERMARK"):
        monkeypatch.setenv(name, "hidden")
    process = DecoderProcess()
    process.answer(CALM, pictures()["RGB"])
    own = Path("/proc", str(process.pid))
    assert b"hidden" not in (own / "environ").read_bytes()
    libraries = (own / "maps").read_text()
    assert "_imaging" in libraries and "libtorch" not in libraries and "scipy/" not in libraries


def test_a_process_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for program in ("/bin/false", "/none/python"):
        monkeypatch.setattr("sys.executable", program)
        with pytest.raises(StartError, match="does not start"):
            DecoderProcess()
    assert "/none/python -m atelier.serving.decoder" in caplog.text
    with pytest.raises(Refused) as refused:
        asyncio.run(Decoders(1).marks(b"", "", False))
    assert (refused.value.status, refused.value.reason, refused.value.retry_after) == (503, "decoder", 5)


def test_it_ends_with_the_server() -> None:
    process = DecoderProcess()
    pid = process.pid
    assert process.alive
    del process
    wait(lambda: not Path("/proc", str(pid)).exists(), 10)  # the thread that might have killed it ends first
