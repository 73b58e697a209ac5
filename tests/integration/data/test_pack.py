"""Packing: equal images give equal bytes; duplicates, split, labels and rejected images; nothing half-written."""

from __future__ import annotations

import hashlib
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.data.packed import PackedDataset
from tests.support.packing import Make, quietly, tree


@pytest.mark.usefixtures("many_processes")
@pytest.mark.parametrize("fit", ["crop", "whole"])
def test_the_number_of_workers_does_not_matter(fit: str, raw: Path, tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(raw), channels=3, fit=fit)
    quietly(settings, tmp_path / "one", workers=1)
    quietly(settings, tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


# ---- real images


def test_mednist_in_two_processes(
    asset: Callable[[str], Path], tmp_path: Path, data_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atelier.data.work.ALONE_SECONDS", 0.1)
    monkeypatch.setattr("atelier.data.work.WORTH_SECONDS", 0.1)
    path = asset("data/mednist-64-subset.zip")
    manifest = quietly(data_settings(source="zip", path=str(path), resolution=64), tmp_path / "packed", workers=2)
    assert manifest.count + manifest.duplicates == 12_000 and not manifest.rejected
    assert manifest.classes == ["AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"]
    packed = PackedDataset(tmp_path / "packed", "all")
    found = {hashlib.sha256(image.tobytes()).digest(): index for index, image in enumerate(packed.images(np.arange(len(packed))))}
    with zipfile.ZipFile(path) as archive:
        for name in random.Random(0).sample(archive.namelist(), 200):
            with archive.open(name) as file:
                index = found[hashlib.sha256(Image.open(file).convert("L").tobytes()).digest()]
            assert packed.classes[packed.labels[index]] == name.split("/")[0]


def test_emoji_over_white(asset: Callable[[str], Path], tmp_path: Path, data_settings: Make) -> None:
    path = asset("data/emoji-google-64.zip")
    settings = data_settings(source="zip", path=str(path), resolution=32, channels=3, background="#ffffff", filter="box")
    manifest = quietly(settings, tmp_path / "packed")
    assert manifest.count + manifest.duplicates == 3786 and len(manifest.classes) == 10
    packed = PackedDataset(tmp_path / "packed", "all")
    images = packed.images(np.arange(len(packed))).astype(np.float32)
    with zipfile.ZipFile(path) as archive:
        for name in random.Random(0).sample(archive.namelist(), 4):
            with archive.open(name) as file:
                picture = np.asarray(Image.open(file).convert("RGBA")).astype(float)
            over = picture[..., :3] * picture[..., 3:] / 255 + 255 - picture[..., 3:]
            expected = over.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
            assert abs(images - expected).max(axis=(1, 2, 3)).min() <= 1.5, name
