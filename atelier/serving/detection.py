"""What a server says of an image that somebody sends: what a detector makes of it, beside its marks of origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atelier.detection.model import DetectorError, LoadedDetector, load
from atelier.detection.protocol import PLAIN
from atelier.provenance.findings import UnreadableImageError, look, words
from atelier.provenance.keys import trusted
from atelier.provenance.log import LogError, logging
from atelier.provenance.watermark.key import configured
from atelier.registry.detectors import fetch
from atelier.serving.limits import Refused

NO_PROOF = "The score is no proof: it tells how much the image resembles what the generators make that the detector has seen"


@dataclass(frozen=True)
class ServedDetector:
    """A registered detector in use, and its address models:/NAME/VERSION."""

    uri: str
    loaded: LoadedDetector

    @classmethod
    def of(cls, uri: str, folder: Path) -> ServedDetector:
        """Fetches a version into `folder`. Raises TrackingError, SignatureError, DetectorError."""
        return cls(uri, load(fetch(uri, folder)))


def marks(content: bytes) -> dict[str, Any]:
    """What the marks of an image say. Raises Refused for what is no image, and for a log that cannot be read."""
    try:
        found = look(content, trusted(), configured(), log=logging())
    except UnreadableImageError as error:
        raise Refused(422, "input", str(error)) from error
    except LogError as error:
        raise Refused(503, "log", str(error)) from error
    state, mark = (
        found.credentials and found.credentials.state,
        found.mark and {"name": found.mark.name, "p": found.mark.probability},
    )
    logged = found.logged and {"about": found.logged.about, "likeness": found.logged.likeness, "next": found.logged.next}
    return {
        "credentials": state,
        "watermark": mark,
        "log": logged,
        "about": found.about,
        "xmp": found.xmp,
        "words": words(found),
    }


def detected(detector: ServedDetector, content: bytes) -> dict[str, Any]:
    """What a detector makes of an image, and its marks. Raises Refused for what is no image."""
    said = marks(content)
    try:
        found = detector.loaded.look(content)
    except DetectorError as error:
        raise Refused(422, "input", str(error)) from error
    info = detector.loaded.info
    expected = info.measured[PLAIN]
    verdict = "looks generated" if found.generated else "does not look generated"
    sentence = (
        f"{verdict}: {found.probability:.2f} of 1 by {detector.uri}, which has seen {', '.join(info.generators)}; of generators "
        f"that were left out, {expected['found']:.0%} of images were found, and {expected['false_positives']:.1%} of real ones"
    )
    return {
        "detector": detector.uri,
        "generated": found.generated,
        "score": found.score,
        "threshold": found.threshold,
        "probability": found.probability,
        "expected": expected,
        "marks": said,
        "words": [sentence, NO_PROOF, *said["words"]],
    }
