"""Packing in many processes: how many, how much memory, and what happens when one dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atelier.data.errors import DataError
from atelier.data.sources.tree import TreeSource
from atelier.data.work import process_all
from tests.support.reading import RECIPE


def test_too_little_memory_for_an_image_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> None:
        raise MemoryError

    (tmp_path / "x.png").write_bytes(b"x")
    recipe = replace(RECIPE, section="target")
    monkeypatch.setattr("atelier.data.work.process_record", exhausted)
    with pytest.raises(DataError, match=r"x\.png: not enough memory to decode it; lower target\.max_pixels, or .*--workers 1"):
        list(process_all(TreeSource("folder", str(tmp_path), 100, "target"), recipe, range(1), 1))
