"""The one place through which pictures of a generator leave: marked where a secret is configured, labelled, and signed last."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from PIL import Image

from atelier.provenance import labels
from atelier.provenance.keys import FOLDER, signing_key
from atelier.provenance.log import LOG, logging, note
from atelier.provenance.watermark.key import WATERMARK, configured
from atelier.provenance.watermark.marking import luminance, marked

NOTHING: Mapping[str, bytes] = {}


def labelled(
    picture: Image.Image, about: Mapping[str, Any], given: Mapping[str, bytes] = NOTHING, form: str = "PNG", **options: Any
) -> bytes:
    """The picture as a PNG, WebP or GIF file that says how it came to be; `options` are those of Pillow's `save`.

    `about` is what can be said of it, by key: weights (their sha256), model (its registered address), seed, class and the like.
    `given` are the files that it was made of, by the names of the generator's inputs. Moving pictures, whose `options` hold
    further ones, are not watermarked; of them the first is logged. Raises KeyFilesError, CredentialsError, WatermarkError,
    LogError.
    """
    file = io.BytesIO()
    still = picture if "append_images" in options else watermarked(picture, about)
    if log := logging():
        note(log, luminance(np.asarray(still, np.float32)), about)
    still.save(file, form, **labels.options(form, about), **options)
    whole = io.BytesIO()
    with signed(whole, f"image/{form.lower()}", about, given) as target:
        target.write(labels.appended(form, file.getvalue(), about))
    return whole.getvalue()


def watermarked(picture: Image.Image, about: Mapping[str, Any]) -> Image.Image:
    """The picture (L or RGB) with the watermark of what made it, where a secret is configured. Raises WatermarkError."""
    secret = configured()
    if secret is None:
        return picture
    return marked(picture, secret.direction(secret.named(about)), secret.strength)


@contextlib.contextmanager
def signed(file: IO[bytes], mime: str, about: Mapping[str, Any], given: Mapping[str, bytes]) -> Iterator[IO[bytes]]:
    """Yields a file for a picture with its labels; what was written there is in `file` at the end, signed where there is a key.

    Raises KeyFilesError, CredentialsError.
    """
    key = signing_key()
    if key is None:
        yield file
        return
    from atelier.provenance.credentials import sign

    with tempfile.SpooledTemporaryFile(max_size=2**24) as unsigned:
        yield unsigned  # type: ignore[misc]
        unsigned.seek(0)
        sign(unsigned, file, mime, about, given, key)  # type: ignore[arg-type]


def signer() -> str:
    """Who signs what leaves, in words. Raises KeyFilesError for a key that cannot be used."""
    key = signing_key()
    return f"signed by {key.name}, until {key.until:%Y-%m-%d}" if key else f"not signed: {FOLDER} names no key"


def marker() -> str:
    """What what leaves is watermarked as, in words. Raises WatermarkError for a secret that cannot be used."""
    secret = configured()
    if secret is None:
        return f"not watermarked: {WATERMARK} names no secret"
    return f"watermarked as {' or '.join(secret.names)} with the version, strength {secret.strength}"


def logger() -> str:
    """Where what leaves is logged, in words."""
    log = logging()
    return f"logged in {log.name}" if log else f"not logged: {LOG} names no file"
