"""Sliders of the version in use: found once in the background, and kept beside the served model by the hash of its weights."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atelier.errors import AtelierError
from atelier.latent.sliders import Sliders, kept
from atelier.networks.base import LatentGenerator
from atelier.serving.background import begun
from atelier.serving.follow import Champion
from atelier.serving.limits import Refused
from atelier.tracking.client import first_line

KEPT = 4  # versions whose sliders are in memory


@dataclass
class Finding:
    """Sliders on the way: the share of the work that is done, and what comes of it."""

    done: float = 0.0
    result: Future[Sliders] = field(default_factory=Future)


class Directions:
    """The sliders of versions, in files below `folder`. `of` is called in the event loop alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()  # one version's after the other's: they take a core
        self._finding: dict[str, Finding] = {}

    def of(self, champion: Champion) -> dict[str, Any]:
        """The sliders of a version, or {"done": SHARE} while they are being found.

        Raises Refused: 422 for a generator of something else than noise and a class, 503 where they cannot be found.
        """
        generator = champion.generator.generator
        if not isinstance(generator, LatentGenerator):
            raise Refused(
                422, "input", "directions are those of a generator of noise with at most a class, which this one is not"
            )
        finding = self._finding.get(generator.sha256)
        if finding is None:
            finding = self._finding[generator.sha256] = Finding()
            finding.result = begun(lambda: self._found(generator, finding))
            for old in [key for key, one in self._finding.items() if one.result.done()][: len(self._finding) - KEPT]:
                del self._finding[old]
        if not finding.result.done():
            return {"done": finding.done}
        try:
            return finding.result.result().model_dump(mode="json")
        except Exception as error:  # whatever it is, the version is served on
            message = str(error) if isinstance(error, AtelierError) else first_line(error)
            raise Refused(503, "directions", f"the directions of {champion.uri} cannot be found: {message}") from error

    def _found(self, generator: LatentGenerator, finding: Finding) -> Sliders:
        with self._turn:
            return kept(self._folder / f"{generator.sha256}.json", generator, lambda share: setattr(finding, "done", share))
