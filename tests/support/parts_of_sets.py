"""A set packed whole, in parts, and merged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from atelier.config.data import DataSettings
from atelier.data.pack import merge, pack, pack_part
from tests.support.packing import tree
from tests.support.reading import Make


def whole(settings: DataSettings, output: Path) -> dict[str, bytes]:
    pack(settings, output, workers=1, progress=False)
    return tree(output)


def divided(settings: DataSettings, folder: Path, parts: int, workers: int = 1) -> list[Path]:
    """All parts, in an order of their own."""
    folders = [folder / f"{part}-of-{parts}" for part in range(1, parts + 1)]
    for part, output in enumerate(folders, start=1):
        pack_part(settings, part, parts, output, workers, progress=False)
    return random.Random(parts).sample(folders, parts)


def merged(settings: DataSettings, folders: list[Path], output: Path) -> dict[str, bytes]:
    merge(settings, folders, output, progress=False)
    return tree(output)


@pytest.fixture(name="settings")
def settings_fixture(raw: Path, data_settings: Make) -> DataSettings:
    return data_settings(source="folder", path=str(raw))


@pytest.fixture(name="parts")
def parts_fixture(settings: DataSettings, tmp_path: Path) -> list[Path]:
    return sorted(divided(settings, tmp_path / "parts", 3))
