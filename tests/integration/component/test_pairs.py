"""Pairs through `components.prepare`: packed whole and in parts, and refused with the file's name and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atelier.data.packed import PackedDataset
from tests.integration.component.test_parts import command
from tests.support.small import folder_hash

SET = (
    "--set",
    "data.target.resolution=32",
    "--set",
    "data.base.resolution=32",
    "--set",
    "data.target.path=pairs",
    "--set",
    "data.target.margin=0",
)
PAIR = (*SET, "--set", "data.target.fields={input: {from: lines, channels: 1}, target: {from: colour}}")


@pytest.fixture(name="pairs")
def pairs_fixture(workspace: Path, encode: Callable[..., bytes], pictures: Any) -> Path:
    """30 drawings and their negatives, in two classes."""
    for number, picture in enumerate(pictures(30, shape=(32, 32))):
        for field, image in (("lines", 255 - picture), ("colour", picture)):
            path = workspace / "pairs" / field / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))
    return workspace / "pairs"


@pytest.mark.usefixtures("pairs")
def test_pairs_whole_and_in_parts(workspace: Path) -> None:
    whole = command("--section", "data.target", *PAIR, "--output", "packed")
    assert whole.returncode == 0 and whole.stdout.startswith("packed: 30 images of 32 px, 2 classes, 0 duplicates"), whole.stderr
    packed = PackedDataset(workspace / "packed", "all")
    read = packed.read(np.arange(30))
    assert list(read) == ["input", "target"] and (read["input"] == 255 - read["target"]).all()
    for part in (1, 2):
        done = command("--section", "data.target", *PAIR, "--part", f"{part}/2", "--output", f"parts/{part}")
        assert done.returncode == 0, done.stderr
    merged = command("--section", "data.target", *PAIR, "--merge", "parts/2", "parts/1", "--output", "merged")
    assert merged.returncode == 0 and folder_hash(workspace / "merged") == folder_hash(workspace / "packed"), merged.stderr


def test_what_is_no_pair_is_refused(pairs: Path) -> None:
    (pairs / "lines" / "a" / "0.png").unlink()
    done = command("--section", "data.target", *PAIR, "--output", "packed")
    assert done.returncode == 1 and not Path("packed").exists()
    assert "a/0.png: no file of that name in lines, beside colour/a/0.png" in done.stderr and "Traceback" not in done.stderr
    done = command("--section", "data.target", *PAIR, "--set", "data.target.fields.input.from=nowhere", "--output", "packed")
    assert done.returncode == 1 and "data.target.path 'pairs' has no files in a folder nowhere; its folders are" in done.stderr
    done = command("--section", "data.target", *PAIR, "--set", "data.target.fields.input.form=lines", "--output", "packed")
    assert "data.target.fields.input.form: unknown key; did you mean from? allowed here: channels, from" in done.stderr
