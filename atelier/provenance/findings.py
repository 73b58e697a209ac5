"""What can be told of where an image comes from, by its own marks: of a file that may be anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atelier.provenance.credentials import INPUTS, Manifest, Verified, verified
from atelier.provenance.log import LOG, Logged, find_logged
from atelier.provenance.reading import Marks, luminance, opened, read
from atelier.provenance.watermark.finding import LIMIT, Mark, find, find_together
from atelier.provenance.watermark.key import VERSIONS, WATERMARK, Secret

UNTRUSTED = "signingCredential.untrusted"
MOST = 50  # lines of what an image was made of
LONGEST = 160  # characters of what a file says of itself
NOTHING = (
    "nothing known: no content credentials, no text chunk, no XMP; {sought}. This proves nothing: marks are lost when an "
    "image is saved again, and a photograph has none"
)
NOT_LOOKED = f"no watermark was looked for, since {WATERMARK} names no secret"
NO_LOG = f"no log was looked into, since {LOG} names none"
NOT_LOGGED = "the log has nothing that is clearly the same picture"
NO_MARK = "no watermark of {names} up to version {versions}"
STATES = {
    "Trusted": "signed by {signer}, under a root that is trusted here; unchanged since",
    "Valid": "signed by {signer}, under no root that is trusted here, so that the name proves nothing; unchanged since",
    "Invalid": "NOT AS SIGNED: the image, its labels or its signature were changed, or the certificate is not valid ({failures})",
}


@dataclass(frozen=True)
class Findings:
    """What a file's marks say: its manifest, the text chunk, the XMP and the watermark, and what it is most like of what was
    logged; None where there is none.

    Text chunk and XMP are unsigned unless the manifest, which covers them, is unchanged. `sought` says which watermarks were
    looked for, and in which log.
    """

    credentials: Verified | None
    about: dict[str, Any] | None
    xmp: dict[str, str] | None
    mark: Mark | None
    logged: Logged | None
    sought: str

    @property
    def known(self) -> bool:
        """Whether there is any mark at all."""
        return any(one is not None for one in (self.credentials, self.about, self.xmp, self.mark, self.logged))


def look(
    content: bytes, anchors: str, secret: Secret | None = None, versions: int = VERSIONS, log: Path | None = None
) -> Findings:
    """The marks of an image file (PNG, JPEG, WebP, GIF, TIFF, AVIF). Nothing is fetched.

    `anchors` are roots whose signatures are trusted, as PEM; "" for none. With a `secret` its watermarks are looked for, of so
    many `versions` of each name, and with a `log` the picture is looked for in it; without both, pixels are not decoded. Raises
    UnreadableImageError, LogError.
    """
    return judged(read(content, anchors, pixels=bool(secret or log)), secret, versions, log)


def judged(marks: Marks, secret: Secret | None = None, versions: int = VERSIONS, log: Path | None = None) -> Findings:
    """The same of a file that was read already, with its luminance where there is a secret or a log. Raises LogError."""
    seen = None if marks.luminance is None else marks.luminance.astype(np.float32)
    mark = _marked(seen, secret, versions) if secret and seen is not None else None
    logged = find_logged(log, seen) if log and seen is not None else None
    sought = NO_MARK.format(names=", ".join(secret.names), versions=versions) if secret else NOT_LOOKED
    if logged is None:
        sought += f"; {NOT_LOGGED if log else NO_LOG}"
    credentials = verified(marks.claims) if marks.claims else None
    return Findings(credentials, marks.about, marks.xmp, mark, logged, sought)


def _marked(seen: np.ndarray, secret: Secret, versions: int) -> Mark | None:
    """The watermark in a picture, luminance [H, W], None unless one is found at LIMIT."""
    found = find(seen, {name: secret.direction(name) for name in secret.candidates(versions)})
    return found if found.probability < LIMIT else None


def look_together(contents: Iterable[bytes], secret: Secret, versions: int = VERSIONS) -> Mark | None:
    """The watermark that image files have in common, None unless one is found at LIMIT: a single small image cannot be named.

    Raises UnreadableImageError.
    """
    found = find_together(map(_decoded, contents), {name: secret.direction(name) for name in secret.candidates(versions)})
    return found if found.probability < LIMIT else None


def _decoded(content: bytes) -> np.ndarray:
    with opened(content) as picture:
        return pixels(picture)


def pixels(picture: Image.Image) -> np.ndarray:
    """Luminance float32 [H, W] in levels; what is transparent is white. Raises ValueError for a picture that is too large."""
    return luminance(picture).astype(np.float32)


def words(found: Findings) -> list[str]:
    """The findings as lines for people, the most certain first."""
    if not found.known:
        return [NOTHING.format(sought=found.sought)]
    lines: list[str] = []
    if found.credentials is None:
        lines.append("no content credentials: labels that follow are unsigned, anybody can have written them")
    else:
        verified = found.credentials
        signer = verified.manifest.signer if verified.manifest else "an unknown signer"
        lines.append(STATES[verified.state].format(signer=signer, failures=", ".join(verified.failures) or "no reason given"))
        if verified.manifest and verified.state != "Invalid":
            lines += islice(_of(verified.manifest, ""), MOST)
    lines.append(named(found.mark) if found.mark else found.sought)
    if found.logged:
        lines.append(_of_log(found.logged))
    if found.about is not None:
        lines.append(f"text chunk: {_short(found.about)}")
    if found.xmp is not None:
        lines.append("XMP: " + ", ".join(found.xmp.values()))
    return lines


def named(mark: Mark) -> str:
    """What a watermark says, for people."""
    name, _, version = mark.name.partition("/")
    changed = []
    if mark.scale != 1:
        changed.append(f"{mark.scale:.0%} of its size then" if mark.scale > 1 else f"cut to about {mark.scale:.0%}")
    if mark.angle:
        changed.append(f"turned by {abs(mark.angle):.0f} degrees")
    how = f", {' and '.join(changed)}" if changed else ""
    return f"marked as {name}{f' version {version}' if version else ''} (watermark, p = {mark.probability:.0e}{how})"


def _of_log(one: Logged) -> str:
    when = datetime.fromtimestamp(one.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    alike = f"likeness {one.likeness:.2f}, that of all others at most {one.next:.2f}"
    return f"in the log, of {when}: {_short(one.about)} ({alike}; no proof)"


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
