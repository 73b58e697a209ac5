"""Packing: equal images give equal bytes; duplicates, split, labels and rejected images; nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data.errors import DataError
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io import progress
from tests.support.packing import Make, images, quietly, tree

Encode = Callable[..., bytes]
Pictures = Callable[..., list[np.ndarray]]

DIGITS_CONTENT = "42461f1454a4032e3c114c2e78d776821e6fdfbf9fadcdd62a01188be42340ee"
DIGITS_TRAIN = "8fa383f143d67b94d7e3895e6a369faa54064e2e2678b761163511a5c15cdfe4"


# ---- equal images, equal bytes


def test_names_times_and_order_do_not_matter(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(raw), shard_mib=1)
    quietly(settings, tmp_path / "one", workers=1)
    other = tmp_path / "other"
    files = list(raw.rglob("*.png"))
    random.Random(0).shuffle(files)
    for number, file in enumerate(files):
        copy = other / file.parent.name / f"{'xyz'[number % 3]}{number}.jpeg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
        os.utime(copy, (number, number))
    quietly(settings.model_copy(update={"path": str(other)}), tmp_path / "two", workers=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_zip_packs_as_its_folder(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    folder = quietly(data_settings(source="folder", path=str(raw)), tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "raw.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in raw.rglob("*.png"):
            archive.write(file, file.relative_to(raw))
    zipped = quietly(data_settings(source="zip", path=str(tmp_path / "raw.zip")), tmp_path / "two")
    assert zipped.content_hash == folder.content_hash and zipped.shards == folder.shards


def test_the_size_of_shards_changes_files_and_not_the_content(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(raw), resolution=256, channels=3, holdout=0.3)
    large = quietly(settings, tmp_path / "large")
    small = quietly(settings.model_copy(update={"shard_mib": 1}), tmp_path / "small")
    assert len(large.shards) == 2 and len(small.shards) > 6 and large.content_hash == small.content_hash
    assert all(file.stat().st_size <= 2**20 for file in (tmp_path / "small").glob("*.tar"))
    first, second = PackedDataset(tmp_path / "large", "all"), PackedDataset(tmp_path / "small", "all")
    order = np.random.default_rng(0).permutation(30)
    assert (first.images(order) == second.images(order)).all() and (first.labels == second.labels).all()


def test_every_machine_packs_these_bytes(tmp_path: Path, data_settings: Make) -> None:
    """scikit-learn's digits at 28 px. Where this changes, packed sets of other versions and machines no longer agree."""
    manifest = quietly(data_settings(source="digits-1797"), tmp_path / "digits")
    assert manifest.content_hash == DIGITS_CONTENT
    assert hashlib.sha256((tmp_path / "digits" / "train-00000.tar").read_bytes()).hexdigest() == DIGITS_TRAIN
    assert manifest.count == 1797 and manifest.duplicates == 0 and manifest.classes == [str(digit) for digit in range(10)]


def test_the_manifest_names_no_place_and_no_time(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    quietly(data_settings(source="folder", path=str(raw)), tmp_path / "packed")
    text = (tmp_path / "packed" / "manifest.json").read_text()
    assert str(tmp_path) not in text and os.uname().nodename not in text and "mtime" not in text


# ---- duplicates, labels, split


def test_duplicates_are_dropped_and_counted(raw: Path, tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    before = quietly(data_settings(source="folder", path=str(raw), resolution=32), tmp_path / "one")
    for file in sorted((raw / "a").iterdir())[:4]:
        Image.open(file).save(file.with_suffix(".bmp"))  # other bytes, the same pixels
    after = quietly(data_settings(source="folder", path=str(raw), resolution=32), tmp_path / "two")
    assert (before.duplicates, after.duplicates, after.label_conflicts) == (0, 4, 0)
    assert after.count == before.count == 30 and after.content_hash == before.content_hash


def test_equal_images_under_several_labels(tmp_path: Path, data_settings: Make, encode: Encode, capsys: Any) -> None:
    """The most frequent label wins; of equally frequent ones the first class."""
    for name, shade in (("b/1", 10), ("c/1", 10), ("c/2", 10), ("c/3", 20), ("a/3", 20), ("b/9", 30)):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(np.full((28, 28), shade, np.uint8)))
    manifest = quietly(data_settings(source="folder", path=str(tmp_path / "raw"), holdout=0.0), tmp_path / "packed")
    assert (manifest.count, manifest.duplicates, manifest.label_conflicts) == (3, 3, 2)
    packed = PackedDataset(tmp_path / "packed")
    shades = packed.images(np.arange(3))[:, 0, 0, 0]
    assert {int(shade): packed.classes[label] for shade, label in zip(shades, packed.labels, strict=True)} == {
        10: "c",
        20: "a",
        30: "b",
    }
    assert "images under several labels, of which the most frequent one was kept: 2\n" in capsys.readouterr().err


def test_numbers_as_classes_are_sorted_by_value(tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    for label in range(12):
        (tmp_path / "raw" / str(label)).mkdir(parents=True)
        (tmp_path / "raw" / str(label) / "x.png").write_bytes(encode(np.full((28, 28), label, np.uint8)))
    manifest = quietly(data_settings(source="folder", path=str(tmp_path / "raw"), holdout=0.0), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed")
    assert manifest.classes == [str(label) for label in range(12)] and manifest.splits["train"].class_counts == [1] * 12
    assert (packed.labels == packed.images(np.arange(12))[:, 0, 0, 0]).all()


def test_the_split_is_a_property_of_each_image(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(raw), holdout=0.4)
    quietly(settings, tmp_path / "whole")
    whole = {split: images(tmp_path / "whole", split) for split in ("train", "test")}
    assert len(whole["train"]) + len(whole["test"]) == 30 and not whole["train"] & whole["test"]
    assert {hashlib.sha256(image).digest()[0] / 256 < 0.4 for image in whole["test"]} == {True}
    shutil.rmtree(raw / "b")
    quietly(settings, tmp_path / "part")
    assert images(tmp_path / "part", "test") < whole["test"] and images(tmp_path / "part", "train") < whole["train"]


def test_the_share_held_out(tmp_path: Path, data_settings: Make) -> None:
    manifest = quietly(data_settings(source="digits-1797", holdout=0.25), tmp_path / "packed")
    assert abs(manifest.splits["test"].count / 1797 - 0.25) < 0.04
    assert all(sum(split.class_counts) == split.count for split in manifest.splits.values())


def test_no_image_left_for_training(tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.png").write_bytes(encode(np.zeros((28, 28), np.uint8)))
    with pytest.raises(DataError, match=r"data\.holdout 0\.999999 leaves none of 1 images"):
        quietly(data_settings(source="folder", path=str(tmp_path / "raw"), holdout=0.999999), tmp_path / "packed")


def test_labels_can_be_dropped_or_missing(raw: Path, tmp_path: Path, data_settings: Make, capsys: Any) -> None:
    manifest = quietly(data_settings(source="folder", path=str(raw), labels=False), tmp_path / "one")
    assert manifest.classes == [] and manifest.splits["train"].class_counts == [] and not capsys.readouterr().err
    flat = quietly(data_settings(source="folder", path=str(raw / "a")), tmp_path / "two")
    assert flat.classes == [] and flat.count == 10
    assert "the source has no labels" in capsys.readouterr().err
    assert (PackedDataset(tmp_path / "two").labels == 0).all()


def test_a_single_class_is_pointed_out(raw: Path, tmp_path: Path, data_settings: Make, capsys: Any) -> None:
    quietly(data_settings(source="folder", path=str(raw)), tmp_path / "one")
    assert not capsys.readouterr().err
    (tmp_path / "above").mkdir()
    (raw / "a").rename(tmp_path / "above" / "roses")
    manifest = quietly(data_settings(source="folder", path=str(tmp_path / "above")), tmp_path / "two")
    assert manifest.classes == ["roses"]
    said = "data: one class only, 'roses'; if it is no class, set data.labels: false\n"
    assert capsys.readouterr().err == said


def test_half_labelled_is_an_error(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    shutil.copy(raw / "a" / "0.png", raw / "zero.png")
    with pytest.raises(DataError, match=r"data\.labels is true and zero\.png has no label.*data\.labels: false"):
        quietly(data_settings(source="folder", path=str(raw)), tmp_path / "packed")


# ---- rejected images


def test_rejected_images_are_listed_by_name_and_reason(raw: Path, tmp_path: Path, data_settings: Make, encode: Encode) -> None:
    (raw / "a" / "notes.txt").write_text("not an image")
    (raw / "b" / "tiny.png").write_bytes(encode(np.zeros((3, 3), np.uint8)))
    with pytest.raises(DataError) as caught:
        quietly(data_settings(source="folder", path=str(raw), max_rejected=1), tmp_path / "packed")
    message = str(caught.value)
    assert message.startswith("2 of 32 images are rejected, more than data.max_rejected = 1 (a/notes.txt: not an image of")
    assert "b/tiny.png: 3 x 3 has a side shorter" in message and "\n" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"], "nothing is left"
    manifest = quietly(data_settings(source="folder", path=str(raw), max_rejected=2), tmp_path / "packed")
    assert [image.name for image in manifest.rejected] == ["a/notes.txt", "b/tiny.png"] and manifest.count == 30


def test_rejected_images_are_in_the_order_of_their_names(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    """Also where a source gives them in another order: what is too large to be read comes first in its chunk."""
    (raw / "a" / "1 broken.png").write_text("not an image")
    with (raw / "a" / "2 large.png").open("wb") as file:
        file.truncate(2**21)
    (raw / "a" / "3\nlines.png").write_text("not an image")
    settings = data_settings(source="folder", path=str(raw), max_rejected=3, max_pixels=2000)
    manifest = quietly(settings, tmp_path / "packed")
    assert [image.name for image in manifest.rejected] == ["a/1 broken.png", "a/2 large.png", "a/3\\nlines.png"]


def test_only_the_first_rejected_are_shown(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(9):
        (tmp_path / "raw" / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"9 of 9 .*4\.png: empty file; and 4 more\)"):
        quietly(data_settings(source="folder", path=str(tmp_path / "raw")), tmp_path / "packed")
    with pytest.raises(DataError, match=r"data\.path .*: no image is left \(0\.png: empty file.*correct the path"):
        quietly(data_settings(source="folder", path=str(tmp_path / "raw"), max_rejected=9), tmp_path / "packed")


def test_a_false_suffix_is_no_reason(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> None:
    (tmp_path / "raw").mkdir()
    for number, (format, suffix) in enumerate([("JPEG", "png"), ("PNG", "jpg"), ("GIF", ""), ("WEBP", "tiff")]):
        (tmp_path / "raw" / f"{number}.{suffix}").write_bytes(encode(pictures(4)[number], format))
    assert quietly(data_settings(source="folder", path=str(tmp_path / "raw"), holdout=0.0), tmp_path / "packed").count == 4


def test_progress_goes_to_stderr(
    raw: Path, tmp_path: Path, data_settings: Make, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    pack(data_settings(source="folder", path=str(raw)), tmp_path / "packed")
    captured = capsys.readouterr()
    assert not captured.out and "pack: 30 of 30 images" in captured.err and "write: 30 of 30" in captured.err
    assert json.loads((tmp_path / "packed" / "manifest.json").read_text())["count"] == 30
