"""What a server says of an image that somebody sends: what a detector makes of it, beside its marks of origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atelier.detection.model import LoadedDetector, load
from atelier.detection.protocol import PLAIN
from atelier.provenance.findings import judged, words
from atelier.provenance.keys import trusted
from atelier.provenance.log import LogError, logging
from atelier.provenance.reading import Marks
from atelier.provenance.watermark.key import configured
from atelier.registry.detectors import fetch
from atelier.serving.decoding import Decoders
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


async def read(decoders: Decoders, content: bytes) -> Marks:
    """What an image file says of itself, and its luminance where that is looked at. Raises Refused for what is no image."""
    return await decoders.marks(content, trusted(), pixels=bool(configured() or logging()))


def marks(read: Marks) -> dict[str, Any]:
    """What the marks of an image say. Raises Refused for a log that cannot be read."""
    try:
        found = judged(read, configured(), log=logging())
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


def detected(detector: ServedDetector, read: Marks, square: np.ndarray) -> dict[str, Any]:
    """What a detector makes of an image, the square of its recipe, and its marks. Raises Refused as `marks` does."""
    said = marks(read)
    found = detector.loaded.look(square)
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
