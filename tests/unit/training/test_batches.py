"""Batches of records of several fields: by field, paired in every order, the same resident and streamed; crops by position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.data.crops import Crops
from atelier.data.errors import DataError
from atelier.data.packed import PackedDataset
from atelier.models.model import from_uint8
from atelier.training import batches
from atelier.training.batches import Batches
from tests.support.packing import Make, quietly

COUNT = 40


@pytest.fixture(name="pairs", scope="module")
def pairs_fixture(
    tmp_path_factory: pytest.TempPathFactory, data_settings: Make, encode: Callable[..., bytes], pictures: Any
) -> Path:
    """Gray pictures, and the same in color with their own number in blue."""
    folder = tmp_path_factory.mktemp("pairs")
    for number, picture in enumerate(pictures(COUNT, shape=(32, 32))):
        for field, image in (("input", picture), ("target", np.stack([picture, picture, np.full_like(picture, number)], -1))):
            path = folder / "raw" / field / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))
    fields = {"input": {"channels": 1}, "target": {}}
    settings = data_settings(source="folder", path=str(folder / "raw"), resolution=32, channels=3, holdout=0.3, fields=fields)
    quietly(settings, folder / "packed")
    return folder / "packed"


@pytest.mark.parametrize("resident", [True, False])
def test_records_by_field(resident: bool, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resident:
        monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    data = PackedDataset(pairs)
    given = Batches({"data": data}, 0, torch.device("cpu"))
    seen: set[int] = set()
    for start in range(0, len(data), 5):
        batch = given.batch(0, start, 5, prefetch_start=start + 5)
        assert {name: tuple(values.shape) for name, values in batch.items()} == {
            "input": (5, 1, 32, 32), "target": (5, 3, 32, 32), "label": (5,),
        }  # fmt: skip
        assert torch.equal(batch["input"][:, 0], batch["target"][:, 0]), "pairs stay pairs"
        numbers = (batch["target"][:, 2, 0, 0] + 1).mul(127.5).round().int()
        assert torch.equal(batch["label"], numbers % 2)
        seen |= set(numbers.tolist())
    assert len(seen) == len(data), "an epoch shows each record once"
    held_out = given.held_out(8)
    assert held_out is not None and torch.equal(held_out["input"][:, 0], held_out["target"][:, 0])
    assert not seen & set((held_out["target"][:, 2, 0, 0] + 1).mul(127.5).round().int().tolist())


def test_what_is_resident_counts_all_fields(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PackedDataset(pairs)
    for bytes_of, resident in ((4, True), (3, False)):
        monkeypatch.setattr(batches, "RESIDENT_BYTES", len(data) * bytes_of * 32 * 32)
        (one,) = Batches({"data": data}, 0, torch.device("cpu"))._sets.values()
        assert (one.resident is not None) == resident


def test_fields_of_several_sets(pairs: Path) -> None:
    data = PackedDataset(pairs)
    batch = Batches({"a": data, "b": data}, 0, torch.device("cpu")).batch(0, 0, 3, prefetch_start=3)
    assert set(batch) == {f"{name}.{field}" for name in "ab" for field in ("input", "target", "label")}


@pytest.fixture(name="photos", scope="module")
def photos_fixture(tmp_path_factory: pytest.TempPathFactory, data_settings: Make, encode: Callable[..., bytes]) -> Path:
    """Whole pictures of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "raw").mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        (folder / "raw" / f"{number}.png").write_bytes(encode(random.integers(0, 256, (40 + 9 * number, 64, 3), np.uint8)))
    whole = {"resolution": 32, "channels": 3, "fit": "whole", "labels": False, "holdout": 0.4}
    quietly(data_settings(source="folder", path=str(folder / "raw"), **whole), folder / "packed")
    return folder / "packed"


def test_crops_are_those_of_their_positions(photos: Path) -> None:
    """Read ahead or not, at once or in parts as ranks do, before and after a resume."""
    data, cut = PackedDataset(photos), Crops(24, flips=True, turns=True)
    ahead = Batches({"data": data}, 3, torch.device("cpu"), cut)
    seen = [ahead.batch(1, start, 8, prefetch_start=start + 8)["image"] for start in range(0, 40, 8)]
    assert seen[0].shape == (8, 3, 24, 24) and len(torch.unique(torch.cat(seen), dim=0)) == 40
    resumed = Batches({"data": data}, 3, torch.device("cpu"), cut)
    for start in range(24, 40, 4):
        part = resumed.batch(1, start, 4, prefetch_start=0)["image"]
        assert torch.equal(part, torch.cat(seen)[start : start + 4])
    epoch = len(data)
    first, second = (resumed.batch(1, start, epoch, prefetch_start=0)["image"] for start in (0, epoch))
    assert not set(first.flatten(1).sum(1).tolist()) & set(second.flatten(1).sum(1).tolist()), "another crop each epoch"
    other = Batches({"data": data}, 4, torch.device("cpu"), cut).batch(1, 0, 8, prefetch_start=8)["image"]
    assert not torch.equal(other, seen[0])


def test_held_out_pictures_are_seen_in_the_middle_of_windows(photos: Path) -> None:
    data, kept = PackedDataset(photos), PackedDataset(photos, "test")
    given = Batches({"data": data}, 3, torch.device("cpu"), Crops(24)).held_out(5)
    assert given is not None and torch.equal(
        given["image"],
        Batches({"data": data}, 3, torch.device("cpu"), Crops(24, flips=True)).held_out(5)["image"],  # type: ignore[index]
    )
    middles = from_uint8(torch.from_numpy(kept.images(np.arange(len(kept)))))[:, :, 4:28, 4:28]
    assert all((middles == one).all(dim=(1, 2, 3)).any() for one in given["image"])


def test_crops_that_do_not_fit_are_refused_before_the_training(photos: Path) -> None:
    with pytest.raises(DataError, match="crops of 64 px do not fit"):
        Batches({"data": PackedDataset(photos)}, 0, torch.device("cpu"), Crops(64))
