"""Follows an alias: looks it up again and again, loads a new version aside and swaps it as a whole."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from atelier.errors import AtelierError
from atelier.models.pyfunc import Row, ServedGenerator, picture, random_inputs
from atelier.networks.inputs import required
from atelier.provenance.leaving import labelled
from atelier.registry.fetch import load_checkpoint
from atelier.registry.versions import GENERATOR_HASH, NotRegisteredError, check_ours, resolve
from atelier.serving.browser_runtime import SERVER
from atelier.serving.halves import Halves, Painting, by_server
from atelier.serving.limits import Refused
from atelier.serving.metrics import Metrics
from atelier.tracking.client import first_line
from atelier.tracking.place import TrackingError

if TYPE_CHECKING:
    import numpy as np
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger("atelier.serving")

EXAMPLES = 16
LONGEST_PAUSE = 300.0  # seconds until a version that could not be loaded is tried again
LEAVING_SECONDS = 2.0


@dataclass(frozen=True)
class Champion:
    """A loaded version, its address models:/NAME/VERSION, and who paints it: browsers with halves, or the server, in words."""

    uri: str
    generator: ServedGenerator
    paint: Halves | str = SERVER

    @cached_property
    def named(self) -> dict[str, str]:
        """What an image carries of the version: its address and the sha256 of its weights."""
        return {"model": self.uri, "weights": self.generator.generator.sha256}

    @property
    def headers(self) -> dict[str, str]:
        """The same as headers of a response."""
        return {"X-Atelier-Model": self.named["model"], "X-Atelier-Weights": self.named["weights"]}

    def png(self, row: Row, image: np.ndarray) -> bytes:
        """The image [H, W, C] of a row as a PNG that says where it comes from."""
        return labelled(picture(image), self.named | row.about, row.given)


class Follower:
    """Keeps `current` the version that `uri` means, in a thread of its own; whoever reads it goes on with what he has read.

    What cannot be had is no end of serving: `current` stays, and `trouble` says why it may not be what `uri` means now.
    Versions are fetched below `folder`; the one in use and the one before stay there, so that a rollback fetches nothing.
    """

    def __init__(self, uri: str, device: str, poll: float, folder: Path, metrics: Metrics, paint: Painting = by_server) -> None:
        self.uri = uri
        self.current: Champion | None = None
        self.trouble = "the registry has not been asked yet"
        self._device, self._poll, self._folder, self._metrics = device, poll, folder, metrics
        self._paint = paint
        self._key: tuple[str, str] | None = None  # number and weights of the current version: numbers begin anew with a name
        self._failed: tuple[str, str] | None = None
        self._failures, self._again_at = 0, 0.0
        self._kept: list[Path] = []
        self._said: tuple[object, ...] = ()
        self._first: Callable[[], object] | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)  # a download may hang for minutes

    def first(self, call: Callable[[], object]) -> None:
        """Has `call` called, in the thread that follows, as soon as there is a version."""
        self._first = call

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._end.set()
        self._thread.join(LEAVING_SECONDS)

    def _follow(self) -> None:
        while not self._end.is_set():
            self._look()
            if self.current and self._first:
                self._first()
                self._first = None
            self._end.wait(self._poll)

    def _look(self) -> None:
        try:
            version = resolve(self.uri)
        except NotRegisteredError as error:
            self._keep("absent", error)
        except Exception as error:  # whatever it is, serving goes on
            self._keep("away", error)
        else:
            self._use(version)

    def _use(self, version: ModelVersion) -> None:
        """Makes a version the current one, if it is not, and has not just failed to become it."""
        key = (version.version, version.tags.get(GENERATOR_HASH, ""))
        if key != self._key:
            if key == self._failed and time.monotonic() < self._again_at:
                return
            try:
                self._swap(version)
            except Exception as error:  # whatever it is, serving goes on
                self._failures = self._failures + 1 if key == self._failed else 1
                self._failed = key
                self._again_at = time.monotonic() + min(self._poll * 2**self._failures, LONGEST_PAUSE)
                self._keep("unloadable", error, key)
                return
            self._key = key
        elif self._said:
            log.info("%s is known again: it is models:/%s/%s, in use", self.uri, version.name, version.version)
        self._failed, self._said, self.trouble = None, (), ""
        self._metrics.following.set(1)

    def _swap(self, version: ModelVersion) -> None:
        check_ours(version)
        uri = f"models:/{version.name}/{version.version}"
        folder = self._folder / f"{version.version}-{version.tags[GENERATOR_HASH][:12]}"
        generator = ServedGenerator(load_checkpoint(uri, folder, networks=False), self._device)
        champion = Champion(uri, generator, self._paint(folder, generator))
        try_out(champion)
        before, self.current = self.current, champion
        self._metrics.use(version.name, version.version, generator.generator.sha256)
        log.info("serving %s (weights %s)%s", uri, generator.generator.sha256[:12], f", was {before.uri}" if before else "")
        self._kept = [*[kept for kept in self._kept if kept != folder][-1:], folder]
        for old in self._folder.iterdir():
            if old not in self._kept:
                shutil.rmtree(old, ignore_errors=True)

    def _keep(self, kind: str, error: Exception, *about: object) -> None:
        """Says why nothing changes: in the detail of readiness and the metrics each time, in the log when it is news."""
        self._metrics.errors.labels(kind).inc()
        self._metrics.following.set(0)
        expected = isinstance(error, AtelierError)
        self.trouble = str(error) if expected else str(TrackingError(f"{self.uri}: {first_line(error)}"))
        if (kind, *about) != self._said:
            self._said = (kind, *about)
            stays = f"{self.current.uri} stays in use" if self.current else "nothing to serve yet"
            log.warning("%s; %s", self.trouble, stays, exc_info=None if expected else error)


def rows_of(champion: Champion, records: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What rows ask of a version. Raises Refused (422)."""
    try:
        return champion.generator.read(records)
    except MlflowException as error:
        raise Refused(422, "input", error.message) from error


def try_out(champion: Champion) -> None:
    """Generates images of the first seeds, of one class after the other; of an example, where pictures are given.

    Whatever cannot be generated or signed is found here, and the first caller does not wait for what a first pass prepares.
    """
    info = champion.generator.info
    classes, random = info.classes if info.conditional else [], random_inputs(info)
    given = {kind.column(name): kind.example(classes)[0] for name, kind in required(info.takes).items()}
    asked: list[Mapping[str, Any]] = [
        {**given, **({"seed": seed} if random else {}), **({"class": classes[seed % len(classes)]} if classes else {})}
        for seed in range(EXAMPLES if random else 1)
    ]
    rows = champion.generator.read(asked)
    champion.png(rows[0], champion.generator.generate(rows)[0])
