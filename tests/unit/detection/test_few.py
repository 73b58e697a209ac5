"""benchmarks.detectors learns from a part of a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from atelier.data.packed import PackedDataset
from benchmarks.detectors import few


def test_a_part_of_each_split_is_packed_once(pack_images: Callable[..., PackedDataset], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    drawn = {
        f"{split}/{name}": list(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        for split, name, count in [("train", "one", 30), ("train", "two", 30), ("test", "one", 3), ("test", "two", 3)]
    }
    whole = pack_images(drawn, resolution=28, channels=1, split="given")
    part = few(whole.folder, {"train": 20, "test": 50}, tmp_path / "part")
    for split, count in (("train", 20), ("test", 6)):
        images = {image.tobytes() for image in PackedDataset(part, split).images(np.arange(count))}
        assert len(PackedDataset(part, split)) == len(images) == count
        assert images <= {image.tobytes() for name, ones in drawn.items() if name.startswith(split) for image in ones}
    few(whole.folder, {"train": 10, "test": 2}, part)
    assert len(PackedDataset(part)) == 20
