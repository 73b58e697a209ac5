"""Weights that are fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTENT = b"weights"


@pytest.fixture(name="caches")
def caches_fixture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "atelier"
