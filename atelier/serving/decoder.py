"""The process that decodes what strangers send, so that a file which hangs or exhausts its reader ends this one alone.

`atelier.serving.decoding` starts it, asks it and kills it. It has no secrets, loads no PyTorch, writes no file, and answers bytes
and JSON, of which nothing can run code. What only some files need is loaded with the first of them, before their time begins.
"""

from __future__ import annotations

import io
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image, ImageOps

from atelier.provenance.credentials import claims
from atelier.provenance.reading import MOST_PIXELS, UnreadableImageError, explained, read

FORMATS = ("PNG", "JPEG", "WEBP")  # of pictures that a model takes
EXHAUSTED = 3  # exit code: out of memory
REFUSED = "refused"
Told = tuple[dict[str, Any], bytes]


def main() -> None:
    """Answers one question after the other until the server goes away."""
    connection, seconds, memory = Connection(int(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
    Image.init()
    _limit(memory)
    connection.send_bytes(b"ready")
    while True:
        try:
            question = json.loads(connection.recv_bytes())
            if modules := LOADED.get(question["do"]):
                for module in modules:
                    import_module(module)
                connection.send_bytes(b"ready")
            content = connection.recv_bytes()
        except EOFError:
            return
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds) + 1, resource.RLIM_INFINITY))
        try:
            told, found = QUESTIONS[question.pop("do")](content, **question)
        except MemoryError:
            os._exit(EXHAUSTED)
        except Exception as error:  # libraries meet damage with errors of many kinds
            told, found = {REFUSED: explained(error, content)}, b""
        connection.send_bytes(json.dumps(told).encode())
        connection.send_bytes(found)


def picture(content: bytes, side: int, signed: bool, square: tuple[int, int, int] | None = None) -> Told:
    """The pixels of a still picture of so many pixels a side, and all that says what they mean; nothing else of the file.

    Of a picture of any size a `square` can be used: left, top and side of what is resized. With `signed` its content
    credentials are read as well, as whoever signs what is made of it will.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if square is None and image.size != (side, side):
            raise ValueError(f"it is of {image.width} by {image.height} pixels")
        if image.format != "JPEG" and getattr(image, "is_animated", False):
            raise ValueError("it is animated; save one of its pictures")
        form = str(image.format)
        shown: Image.Image = image if square is None else _cut(image, side, square)
        shown.load()
        told: dict[str, Any] = {"mode": shown.mode, "size": shown.size, "format": form}
        told["palette"] = shown.getpalette("RGB") if shown.mode == "P" else None
        transparency = shown.info.get("transparency")
        told["transparency"] = list(transparency) if isinstance(transparency, bytes | tuple) else transparency
        pixels = shown.tobytes()
    if signed:
        claims(content, Image.MIME[form], "")
    return told, pixels


def _cut(image: Image.Image, side: int, square: tuple[int, int, int]) -> Image.Image:
    """A square of the picture as its EXIF turns it, which is how people see it."""
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError
    turned = ImageOps.exif_transpose(image)
    left, top, seen = square
    if left + seen > turned.width or top + seen > turned.height:
        raise ValueError(f"the square does not lie within its {turned.width} by {turned.height} pixels")
    clear = "A" in turned.mode or "transparency" in turned.info
    part = turned.crop((left, top, left + seen, top + seen)).convert("RGBA" if clear else "RGB")
    return part.resize((side, side), Image.Resampling.LANCZOS)


def sound(content: bytes) -> Told:
    """The log-mel spectrogram of a WAV file, float32 [bands, frames]."""
    from atelier.io.sound import SoundError, log_mel

    try:
        spectrogram = log_mel(content)
    except SoundError as error:
        raise ValueError(f"it {error}") from error
    return {"shape": spectrogram.shape}, spectrogram.astype("<f4").tobytes()


def marks(content: bytes, anchors: str, pixels: bool) -> Told:
    """What the file of an image says of itself: atelier.provenance.reading.read."""
    try:
        found = read(content, anchors, pixels)
    except UnreadableImageError as error:  # the server puts its own words around the reason
        raise (error.__cause__ or error) from None
    seen = found.luminance
    told = {"claims": found.claims and asdict(found.claims), "about": found.about, "xmp": found.xmp}
    return told | {"shape": None if seen is None else seen.shape}, b"" if seen is None else seen.tobytes()


def square(content: bytes, recipe: dict[str, Any]) -> Told:
    """The pixels of an image as atelier.data.process makes them by a recipe without fields."""
    from atelier.data.process import Recipe, process

    return {}, process(content, Recipe(**recipe)).pixels


LOADED = {"sound": ("atelier.io.sound", "scipy.io", "scipy.signal"), "square": ("atelier.data.process",)}
QUESTIONS: dict[str, Callable[..., Told]] = {one.__name__: one for one in (picture, sound, marks, square)}


def rebuilt(told: dict[str, Any], pixels: bytes) -> Image.Image:
    """The picture that `picture` told of, in the server's process. Raises ValueError where pixels and size do not fit."""
    image = Image.frombytes(told["mode"], tuple(told["size"]), pixels)
    if told["palette"] is not None:
        image.putpalette(told["palette"], "RGB")
    if told["transparency"] is not None:
        given = told["transparency"]
        image.info["transparency"] = given if isinstance(given, int) else bytes(given) if image.mode == "P" else tuple(given)
    image.format = told["format"]
    return image


def _limit(memory: int) -> None:
    if sys.platform == "linux":  # elsewhere the limit on addresses is not kept, and time alone ends it
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
