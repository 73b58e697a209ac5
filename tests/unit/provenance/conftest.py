"""A key, and two images that it has signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.credentials import make_key, signed_png


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a key, which the environment names."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_key(tmp_path_factory.mktemp("keys"), patch)


@pytest.fixture(scope="module")
def signed(key: Path) -> bytes:
    return signed_png()
