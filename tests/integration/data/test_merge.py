"""Packing in parts: the bytes of one process, the same complaints, and no merge of what does not belong together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.packing import tree
from tests.support.parts_of_sets import divided, merged, parts_fixture, settings_fixture, whole
from tests.support.reading import Make, write_idx
from tests.support.small import ROOT

__all__ = ["parts_fixture", "settings_fixture"]


def test_parts_of_an_s3_prefix(s3: Any, raw: Path, data_settings: Make, tmp_path: Path) -> None:
    for file in raw.rglob("*.png"):
        s3.client.put_object(Bucket=s3.bucket, Key=f"parts/{file.relative_to(raw)}", Body=file.read_bytes())
    settings = data_settings(source="s3", path=f"s3://{s3.bucket}/parts", holdout=0.4)
    expected = whole(settings, tmp_path / "whole")
    for parts in (1, 2, 3, 7, 31):
        folders = divided(settings, tmp_path / "parts", parts)
        assert merged(settings, folders, tmp_path / f"merged-{parts}") == expected, parts


@pytest.mark.usefixtures("many_processes")
def test_the_number_of_workers_of_a_part_does_not_matter(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(raw))
    one, two = (divided(settings, tmp_path / f"{workers}", 2, workers) for workers in (1, 2))
    assert [tree(folder) for folder in one] == [tree(folder) for folder in two]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("emoji-google-64.zip", {"channels": 3, "background": "#ffffff", "shard_mib": 16}),
        ("mednist-64-subset.zip", {"holdout": 0.2}),
    ],
)
def test_real_images_in_parts(
    name: str, changes: dict[str, Any], asset: Callable[[str], Path], tmp_path: Path, data_settings: Make
) -> None:
    settings = data_settings(source="zip", path=str(asset(f"data/{name}")), resolution=64, **changes)
    expected = whole(settings, tmp_path / "whole")
    assert merged(settings, divided(settings, tmp_path / "parts", 5), tmp_path / "merged") == expected


def test_memory_of_a_merge_does_not_grow_with_the_set(tmp_path: Path, data_settings: Make) -> None:
    """20,000 images of 64 x 64, 82 MB of pixels, are merged with less than half of that."""
    (tmp_path / "raw").mkdir()
    write_idx(tmp_path / "raw" / "images-idx3-ubyte", np.random.default_rng(0).integers(0, 256, (20_000, 64, 64), dtype=np.uint8))
    settings = data_settings(source="idx", path=str(tmp_path / "raw"), labels=False, resolution=64)
    folders = divided(settings, tmp_path / "parts", 4)
    script = (
        "import resource, sys; from pathlib import Path; from atelier.config.settings import DataSettings\n"
        "from atelier.data.pack import merge; data = DataSettings.model_validate_json(sys.argv[1])\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); manifest = merge(data, [Path(part) for part in sys.argv[3:]], Path(sys.argv[2]), progress=False)\n"
        "print(manifest.count, peak() - before)"
    )
    command = [sys.executable, "-c", script, settings.model_dump_json(), str(tmp_path / "merged"), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    count, growth = map(int, done.stdout.split())
    assert count == 20_000 and growth < 40_000, f"{growth} KiB"
