"""What an image file of anybody says of itself, before it is judged: formats of strangers are decoded here, and nowhere else.

It loads neither PyTorch nor SciPy, so that a small process which may be killed can do it for a server (atelier.serving.decoder).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from atelier.errors import AtelierError
from atelier.io.transparency import opaque
from atelier.provenance import labels
from atelier.provenance.credentials import Claims, claims

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF")
VECTORS = (b"<svg", b"<?xml", b"<!DOCTYPE svg", b"%PDF", b"%!PS")  # how files begin that are drawn, and not decoded
LONGEST = 200  # characters of a library's reason
MOST_PIXELS = 2**25  # of a picture in which a watermark is looked for


class UnreadableImageError(AtelierError):
    """A file is no image in which marks are looked for."""


@dataclass(frozen=True)
class Marks:
    """What a file says: its manifest, our text chunk and IPTC's fields, None where it has none, and its luminance uint8 [H, W],
    None where nobody asked for it."""

    claims: Claims | None
    about: dict[str, Any] | None
    xmp: dict[str, str] | None
    luminance: np.ndarray | None


def read(content: bytes, anchors: str, pixels: bool) -> Marks:
    """What a file (one of FORMATS) says, and with `pixels` what it shows. `anchors` are trusted roots as PEM, "" for none.

    Raises UnreadableImageError.
    """
    with opened(content) as picture:
        mime = Image.MIME[picture.format or ""]
        about, xmp = labels.read_text(picture), labels.read_xmp(picture, content)
        seen = luminance(picture) if pixels else None
    return Marks(claims(content, mime, anchors), about, xmp, seen)


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """The picture of a file, for reading. Raises UnreadableImageError, also for what is found while it is read."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(unreadable(explained(error, content))) from error


def unreadable(reason: str) -> str:
    """What is said of a file that cannot be read."""
    return f"no image that can be read ({reason}); give one of {', '.join(FORMATS)}"


def explained(error: Exception, content: bytes) -> str:
    """Why a file cannot be read, by what its reader raised."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(VECTORS):
        return "it is a drawing or a document, to be exported as PNG"
    if isinstance(error, UnidentifiedImageError):  # whose text holds an address
        return "it is of no known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"it is of more than {MOST_PIXELS:,} pixels"
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def luminance(picture: Image.Image) -> np.ndarray:
    """Luminance uint8 [H, W]; what is transparent is white. Raises ValueError for a picture that is too large."""
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"it is of more than {MOST_PIXELS:,} pixels")
    return np.asarray(opaque(picture, "L", "#ffffff"))
