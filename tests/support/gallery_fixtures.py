"""A running gallery, a browser, and small generators of each kind for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atelier.extractors import sentences
from atelier.models.sharpness import interpolate
from atelier.networks.fusion import TEXT
from atelier.networks.inputs import Text
from tests.support.gallery import Gallery, Visit, chromium, gallery, visit
from tests.support.sharpened import pair_of
from tests.support.small_fusion import SIZE
from tests.support.small_fusion import model as fusion_model
from tests.support.small_fusion import networks as fusion_networks
from tests.support.small_models import written
from tests.support.small_translators import make_checkpoint as make_translator

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser", "models", "server", "told", "visitor"]

WIDE = {"width": 1200, "height": 850}


@pytest.fixture(scope="module")
def server() -> Iterator[Gallery]:
    """The server of whichever model a test puts into use."""
    with gallery() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module: while it runs, its thread has an event loop, which other tests cannot have beside."""
    with chromium() as started:
        yield started


@pytest.fixture
def visitor(browser: Browser, server: Gallery) -> Iterator[Visit]:
    """A visit with a wide window, which is checked at its end."""
    with visit(browser, server, viewport=WIDE, permissions=["microphone"]) as one:
        yield one


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small generators that take a picture, two of them as one, and a label map."""
    folder = tmp_path_factory.mktemp("models")
    made = {name: make_translator(folder / name, name) for name in ("cyclegan", "spade")}
    interpolate(*pair_of(folder, "srresnet"), None, folder / "both")
    return made | {"both": folder / "both"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of texts and recordings."""
    generator, _ = fusion_networks()
    generator.takes[TEXT] = Text(size=SIZE, encoder=sentences.ENCODER, weights=sentences.WEIGHTS_SHA256)
    folder = tmp_path_factory.mktemp("told")
    return written(folder, generator, fusion_model(), [])
