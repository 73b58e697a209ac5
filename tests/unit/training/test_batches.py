"""Batches of records of several fields: by field, paired in every order, the same resident and streamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
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
