"""A small detector of images of 16 px as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atelier.detection import model
from atelier.detection.changes import CHANGES
from atelier.detection.detectors import Detector
from atelier.detection.model import DetectorInfo
from tests.support.upsampled import SIDE, like, upsampled

REAL, GENERATED = like("bilinear", 64, 0)[None], upsampled("bilinear", 64, 1)[None]


def write_detector(folder: Path, detector: Detector, **changed: Any) -> Detector:
    """The detector after it learnt and was written."""
    real, generated = (detector.rows(one[0])[None] for one in (REAL, GENERATED))
    done = detector.learn(real, generated, seed=0, progress=False)
    info: dict[str, Any] = {
        "kind": detector.kind, "resolution": SIDE, "channels": 1, "background": "#ffffff", "threshold": 0.25,
        "measured": {change: {"auc": 0.9, "found": 0.8, "false_positives": 0.05} for change in CHANGES},
        "generators": {"a": "0" * 64}, "data": {}, "settings": {},
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    model.write(folder, done, DetectorInfo(**info | changed))
    return done
