"""Keys to sign images with, and the chunks of signed PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from atelier.provenance.keys import FOLDER, PASSWORD, make
from atelier.provenance.leaving import labelled

ABOUT: dict[str, Any] = {"model": "models:/digits/4", "weights": "9f" * 32, "seed": 7}
FAILS = {  # the code that readers have to give for what `tampered` did
    "pixels": "assertion.dataHash.mismatch",
    "text added": "assertion.dataHash.mismatch",
    "text edited": "assertion.dataHash.mismatch",
    "behind the end": "assertion.dataHash.mismatch",
    "manifest moved": "assertion.dataHash.mismatch",
    "model renamed": "assertion.hashedURI.mismatch",
    "signature": "claimSignature.mismatch",
}


def make_key(folder: Path, patch: Any, name: str = "digits") -> Path:
    """A folder with a key of this name under the root in `folder`, which the environment names from now on."""
    patch.delenv(PASSWORD, raising=False)
    made = make(folder, name, "Atelier's tests")
    patch.setenv(FOLDER, str(made))
    return made


def signed_png(**given: bytes) -> bytes:
    """A small signed image of two colors."""
    picture = Image.new("RGB", (16, 16), "#336699")
    picture.paste("#ffcc00", (4, 4, 9, 12))
    return labelled(picture, ABOUT, given)


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG: kind and content."""
    found, place = [], 8
    while place < len(file):
        (length,) = struct.unpack(">I", file[place : place + 4])
        found.append((file[place + 4 : place + 8], file[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, each with its right checksum."""
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def changed(file: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The PNG with the content of the first chunk of this kind changed."""
    parts = chunks(file)
    number = next(n for n, (name, _) in enumerate(parts) if name == kind)
    parts[number] = kind, change(parts[number][1])
    return png_of(parts)


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with one bit turned."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def tampered(file: bytes, other: bytes) -> dict[str, bytes]:
    """A signed PNG after each thing that is done to such files, by name; `other` is another signed one."""
    moved = dict(chunks(other))[b"caBX"]
    name = ABOUT["model"].encode()
    parts = chunks(file)
    pixels = zlib.decompress(dict(parts)[b"IDAT"])
    return {
        "pixels": changed(file, b"IDAT", lambda _: zlib.compress(flipped(pixels, 100))),
        "text added": png_of([*parts[:-1], (b"tEXt", b"Comment\0made by hand"), parts[-1]]),
        "text edited": changed(file, b"tEXt", lambda content: content.replace(b'"seed": 7', b'"seed": 8')),
        "behind the end": file + b"more",
        "manifest moved": changed(file, b"caBX", lambda _: moved),
        "model renamed": changed(file, b"caBX", lambda content: content.replace(name, b"models:/digits/5")),
        "signature": changed(file, b"caBX", lambda content: flipped(content, len(content) - 10)),
        "manifest removed": png_of([part for part in parts if part[0] != b"caBX"]),
    }
