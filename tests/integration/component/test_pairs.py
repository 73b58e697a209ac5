"""Pairs through `components.prepare`: packed whole and in parts, and refused with the file's name and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.packed import PackedDataset
from tests.integration.component.test_parts import command
from tests.support.commands import run
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


MAP = "{from: lines, kind: map, classes: {light: '#ffffff', dark: '#000000'}}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["fields.input.from=nowhere"], "data.target.path 'pairs' has no files in a folder nowhere; its folders are"),
        (["fields.input.form=lines"], "data.target.fields.input.form: unknown key; did you mean from? allowed here: channels, "),
        (["fields={input: {from: colour}, photo: {from: lines}}"], "and none is target, which is what is imitated"),
        ([f"fields={{input: {MAP}, target: {{from: colour}}}}"], ", of no class"),
        (["group_by=(a"], "data.target.group_by: '(a' is no regular expression"),
        (["group_by=(x[0-9]+)"], "data.target.group_by '(x[0-9]+)' is found in no name, such as a/0.png"),
        (["fields={input: {from: left}, target: {from: colour}}"], "all have to be halves of one picture (left, right), or none"),
        (["source=lmdb"], "fields are folders of folder, zip, s3, columns of parquet, or halves"),
    ],
)
@pytest.mark.usefixtures("pairs")
def test_what_cannot_be_is_refused(settings: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [part for one in settings for part in ("--set", f"data.target.{one}")]
    assert run("prepare", "--section", "data.target", *PAIR, *changes, "--output", "packed") == 1
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told and not Path("packed").exists()


def test_label_maps(pairs: Path, encode: Callable[..., bytes]) -> None:
    for file in (pairs / "lines").rglob("*.png"):
        values = np.asarray(Image.open(file)) // 128 * 255
        file.write_bytes(encode(values))
    fields = ("--set", f"data.target.fields={{input: {MAP}, target: {{from: colour}}}}", "--set", "data.target.group_by=/([0-9])")
    assert run("prepare", "--section", "data.target", *SET, *fields, "--output", "packed") == 0
    packed = PackedDataset(Path("packed"), "all")
    read = packed.read(np.arange(len(packed)))
    assert packed.fields["input"].classes == ["dark", "light"] and len(packed) == 30
    assert (read["input"] == (255 - read["target"]) // 128).all()
