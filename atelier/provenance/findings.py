"""What can be told of where an image comes from, by its own marks: of a file that may be anybody's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from PIL import Image

from atelier.errors import AtelierError
from atelier.provenance import labels
from atelier.provenance.credentials import INPUTS, Manifest, Verified, verify

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF")
UNTRUSTED = "signingCredential.untrusted"
MOST = 50  # lines of what an image was made of
LONGEST = 160  # characters of what a file says of itself
NOTHING = (
    "nothing known: no content credentials, no text chunk, no XMP. This proves nothing: marks are lost when an image is saved "
    "again, and a photograph has none"
)
STATES = {
    "Trusted": "signed by {signer}, under a root that is trusted here; unchanged since",
    "Valid": "signed by {signer}, under no root that is trusted here, so that the name proves nothing; unchanged since",
    "Invalid": "NOT AS SIGNED: the image, its labels or its signature were changed, or the certificate is not valid ({failures})",
}


class UnreadableImageError(AtelierError):
    """A file is no image in which marks are looked for."""


@dataclass(frozen=True)
class Findings:
    """What a file's marks say: its manifest, the text chunk and the XMP, None where there is none.

    The last two are unsigned unless the manifest, which covers them, is unchanged.
    """

    credentials: Verified | None
    about: dict[str, Any] | None
    xmp: dict[str, str] | None

    @property
    def known(self) -> bool:
        """Whether there is any mark at all."""
        return self.credentials is not None or self.about is not None or self.xmp is not None


def look(content: bytes, anchors: str) -> Findings:
    """The marks of an image file (PNG, JPEG, WebP, GIF, TIFF, AVIF), whose pixels are not decoded. Nothing is fetched.

    `anchors` are roots whose signatures are trusted, as PEM; "" for none. Raises UnreadableImageError.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            mime = Image.MIME[picture.format or ""]
            about, xmp = labels.read_text(picture), labels.read_xmp(picture, content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"no image that can be read ({error}); give one of {', '.join(FORMATS)}") from error
    return Findings(verify(content, mime, anchors), about, xmp)


def words(found: Findings) -> list[str]:
    """The findings as lines for people, the most certain first."""
    if not found.known:
        return [NOTHING]
    lines: list[str] = []
    if found.credentials is None:
        lines.append("no content credentials: what follows is unsigned, anybody can have written it")
    else:
        verified = found.credentials
        signer = verified.manifest.signer if verified.manifest else "an unknown signer"
        lines.append(STATES[verified.state].format(signer=signer, failures=", ".join(verified.failures) or "no reason given"))
        if verified.manifest and verified.state != "Invalid":
            lines += islice(_of(verified.manifest, ""), MOST)
    if found.about is not None:
        lines.append(f"text chunk: {_short(found.about)}")
    if found.xmp is not None:
        lines.append("XMP: " + ", ".join(found.xmp.values()))
    return lines


def _of(manifest: Manifest, indent: str) -> Iterator[str]:
    said = {name: value for name, value in manifest.about.items() if name != INPUTS}
    if said:
        yield f"{indent}says: {_short(said)}"
    for one in manifest.ingredients:
        inner, broken = one.manifest, [code for code in one.failures if code != UNTRUSTED]
        signed = f"with a manifest of {inner.signer}" if inner else "without a manifest that can be read"
        yield f"{indent}made of: {one.title}, {signed}{', NOT AS SIGNED: ' + ' '.join(broken) if broken else ''}"
        if inner and not broken:
            yield from _of(inner, f"{indent}  ")


def _short(about: dict[str, Any]) -> str:
    text = ", ".join(f"{name} {value}" for name, value in about.items())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
