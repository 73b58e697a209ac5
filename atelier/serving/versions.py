"""The other versions of the name that a server follows: what is known of them, and one of them loaded beside the one in use."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.config.training import REGISTERED
from atelier.errors import AtelierError
from atelier.io.files import canonical_json
from atelier.metrics.identity import Measurement
from atelier.models.pyfunc import ServedGenerator
from atelier.registry.fetch import load_checkpoint
from atelier.registry.promotion import standing
from atelier.registry.versions import GENERATOR_HASH, NotRegisteredError, measurements
from atelier.report.facts import declared, interval_text, metric_title, text
from atelier.serving.background import Found, begun
from atelier.serving.follow import Champion, try_out
from atelier.serving.limits import Refused
from atelier.tracking.client import check_reachable, client, explained, first_line, import_mlflow
from atelier.tracking.place import TrackingError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger("atelier.serving")

MOST = 100  # versions that are listed, the newest
FRESH_SECONDS = 5.0  # for which what the registry said is not asked again
STAYS_SECONDS = 5  # for which a version that was just loaded is not replaced by another one
PATIENCE_SECONDS = 20.0  # after which a request does not wait any longer for the registry


@dataclass(frozen=True)
class Held:
    """A version that is loaded, or being loaded since `since`."""

    number: int
    loading: Future[Champion]
    since: float

    @property
    def failed(self) -> bool:
        """Whether it could not be loaded."""
        return self.loading.done() and self.loading.exception() is not None


class Versions:
    """Every version of the name of `uri` by its number, of which one at a time is held in memory, and its files below `folder`.

    `find` lists them and `load` loads one. Methods are called in the event loop alone.
    """

    def __init__(
        self,
        uri: str,
        device: str,
        folder: Path,
        find: Callable[[str], list[dict[str, Any]]] | None = None,
        load: Callable[[str, str, Path], Champion] | None = None,
    ) -> None:
        match = REGISTERED.fullmatch(uri)
        assert match, uri
        self.name: str = match["name"]
        self._device, self._folder = device, folder
        self._find, self._load = find or listed, load or loaded
        self._held: Held | None = None
        self._listing: Future[list[dict[str, Any]]] | None = None
        self._asked = 0.0

    async def all(self) -> list[dict[str, Any]]:
        """What `listed` says, asked again after some seconds. Raises Refused (503)."""
        now = time.monotonic()
        if self._listing is None or (self._listing.done() and now - self._asked > FRESH_SECONDS):
            self._listing, self._asked = begun(lambda: self._find(self.name)), now
        return await _waited(self._listing, "the registry is being asked")

    async def other(self, number: int) -> Champion:
        """The version of this number, which takes the place of the one that was held before.

        Raises Refused: 404 for one that is not registered, 503 where another one was just loaded, or this one is not loadable.
        """
        held, now = self._held, time.monotonic()
        if held and held.number != number and not held.failed and (not held.loading.done() or now - held.since < STAYS_SECONDS):
            message = f"version {held.number} was just asked for, and one other version at a time is held; try again"
            raise Refused(503, "version", message, STAYS_SECONDS)
        if held is None or held.number != number or (held.failed and now - held.since > STAYS_SECONDS):
            self._held = held = None  # let go before the next one needs its room
            uri = f"models:/{self.name}/{number}"
            self._held = held = Held(number, begun(lambda: self._load(uri, self._device, self._folder)), now)
        return await _waited(held.loading, f"version {number} is being fetched")


async def _waited(future: Future[Found], meanwhile: str) -> Found:
    try:
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), PATIENCE_SECONDS)
    except TimeoutError as error:
        raise Refused(503, "version", f"{meanwhile}; try again", STAYS_SECONDS) from error
    except NotRegisteredError as error:
        raise Refused(404, "version", str(error)) from error
    except Exception as error:  # whatever it is, the version in use is served on
        if not isinstance(error, AtelierError):
            log.warning("%s: %s", meanwhile, first_line(error), exc_info=error)
        raise Refused(503, "version", str(error) if isinstance(error, AtelierError) else first_line(error)) from error


def loaded(uri: str, device: str, folder: Path) -> Champion:
    """A version, checked and tried as one is that comes into use. Raises as `load_checkpoint`."""
    version = Champion(uri, ServedGenerator(load_checkpoint(uri, folder, networks=False), device))
    try_out(version)
    return version


def listed(name: str) -> list[dict[str, Any]]:
    """The generators that are registered under a name, the newest first: number, aliases, what the gate said, and numbers.

    Raises TrackingError.
    """
    import_mlflow()
    check_reachable()
    with explained():
        mlflow = client()
        versions = mlflow.search_model_versions(f"name = '{name}'", max_results=1000)
        aliases = mlflow.get_registered_model(name).aliases
    ours = sorted((one for one in versions if GENERATOR_HASH in one.tags), key=lambda one: -int(one.version))
    return [told(one, sorted(alias for alias, number in aliases.items() if number == one.version)) for one in ours[:MOST]]


def told(version: ModelVersion, aliases: list[str]) -> dict[str, Any]:
    """What the page shows of a version. Numbers without a common `identity` are not compared (atelier.metrics.identity)."""
    try:
        numbers = shown(measurements(version).values())
    except TrackingError:  # of an older Atelier, or damaged: the version can be looked at all the same
        numbers = []
    return {"version": int(version.version), "aliases": aliases, "gate": standing(version), "numbers": numbers}


def shown(found: Iterable[Measurement]) -> list[dict[str, Any]]:
    """The numbers that say something about the generator."""
    return [_number(one) for one in found if declared(one).subject == "generator"]


def _number(one: Measurement) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": metric_title(one),
        "value": one.value,
        "text": f"{text(one)} {interval_text(one)}".strip(),
        "higher_is_better": one.higher_is_better,
        "better": declared(one).better,
        "interval": one.interval,
        "identity": canonical_json(asdict(one.identity)),
    }
