"""What folders mean: those around everything are looked through, a given split is used or pooled, the rest are classes."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atelier.config.section import SettingsError
from atelier.config.settings import load
from atelier.data.errors import DataError
from atelier.data.image_files import open_images
from atelier.data.manifest import Manifest
from atelier.data.pack import merge, pack, pack_part
from atelier.data.packed import PackedDataset
from atelier.data.sources.folders import Folders, split_of_files
from tests.support.reading import Encode, Make, read, refused

JUNK = ("__MACOSX/._flowers", "__MACOSX/flowers/rose/._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".git/config")


def quietly(settings: Any, output: Path) -> Manifest:
    return pack(settings, output, workers=1, progress=False)


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zipped(path: Path, root: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root))
    return path


@pytest.fixture
def flowers(encode: Encode, pictures: Callable[..., list[np.ndarray]]) -> dict[str, bytes]:
    """Twelve images in three classes, by their names below the folder of the classes."""
    kinds = ("daisy", "rose", "tulip")
    return {f"{kinds[n % 3]}/{n}.png": encode(picture) for n, picture in enumerate(pictures(12))}


# ---- folders around everything


@pytest.mark.parametrize(
    ("names", "around", "labels"),
    [
        (["rose/1.png", "tulip/1.png"], "", ["rose", "tulip"]),
        (["flowers/rose/1.png", "flowers/tulip/1.png"], "flowers/", ["rose", "tulip"]),
        (["a/b/c/rose/1.png", "a/b/c/tulip/x/1.png"], "a/b/c/", ["rose", "tulip"]),
        (["rose/1.png", "rose/2.png"], "", ["rose", "rose"]),
        (["rose/1.png", "rose/deep/2.png"], "", ["rose", "rose"]),
        (["flowers/rose/1.png", "flowers/0.png"], "", ["flowers", "flowers"]),
        (["flowers/rose/1.png"], "flowers/", ["rose"]),
        (["flowers/rose/1.png", "cover.jpg"], "", ["flowers", None]),
        (["1.png", "2.png"], "", [None, None]),
        (["flower_photos/LICENSE.txt", "flower_photos/rose/1.jpg", "flower_photos/tulip/2.jpg", "README"], "flower_photos/",
         [None, "rose", "tulip", None]),
        (["flowers/rose/1", "flowers/tulip/2"], "flowers/", ["rose", "tulip"]),
        (["rose/1", "rose/2"], "", ["rose", "rose"]),
        (["x/e\u0301t\u00e9/1.png", "x/b/1.png"], "x/", ["\u00e9t\u00e9", "b"]),
    ],
)  # fmt: skip
def test_what_lies_around_everything_is_no_class(names: list[str], around: str, labels: list[str | None]) -> None:
    folders = Folders.of(names)
    assert (folders.around, [folders.label(name) for name in names]) == (around, labels) and not folders.given


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("around", ["flowers", "2026/november/flowers"])
def test_a_wrapped_set_packs_as_the_bare_one(
    kind: str, around: str, flowers: dict[str, bytes], tmp_path: Path, data_settings: Make, capsys: Any
) -> None:
    bare = quietly(data_settings(source="folder", path=str(put(tmp_path / "bare", flowers))), tmp_path / "one")
    assert capsys.readouterr().err == "" and set(bare.source) == {"kind", "description", "licence"}
    wrapped = put(
        tmp_path / "wrapped", {**{f"{around}/{name}": one for name, one in flowers.items()}, **dict.fromkeys(JUNK, b"x")}
    )
    path = wrapped if kind == "folder" else zipped(tmp_path / "flowers.zip", wrapped)
    settings = data_settings(source=kind, path=str(path))
    found = quietly(settings, tmp_path / "two")
    assert found.classes == ["daisy", "rose", "tulip"] and found.content_hash == bare.content_hash
    assert found.source["around"] == f"{around}/" and not found.rejected
    assert capsys.readouterr().err == f"data: all images lie in {around}/, which was looked through\n"
    parts = [tmp_path / "parts" / str(part) for part in (1, 2, 3)]
    for part, folder in enumerate(parts, start=1):
        pack_part(settings, part, 3, folder, workers=1, progress=False)
    assert merge(settings, parts, tmp_path / "three", progress=False) == found


def test_a_wrapped_prefix(s3: Any, flowers: dict[str, bytes], data_settings: Make) -> None:
    for name, content in flowers.items():
        s3.client.put_object(Bucket=s3.bucket, Key=f"wrapped/flowers/{name}", Body=content)
    items = read(data_settings(source="s3", path=f"s3://{s3.bucket}/wrapped"))
    assert {item.label for item in items} == {"daisy", "rose", "tulip"}


def test_names_of_rejected_files_are_whole(flowers: dict[str, bytes], tmp_path: Path, data_settings: Make) -> None:
    """As people find them in their zip."""
    root = put(tmp_path / "raw", {**{f"flowers/{name}": one for name, one in flowers.items()}, "flowers/LICENSE.txt": b"CC0"})
    found = quietly(data_settings(source="folder", path=str(root), max_rejected=1), tmp_path / "packed")
    assert [image.name for image in found.rejected] == ["flowers/LICENSE.txt"] and len(found.classes) == 3


# ---- a given split

SPLITS = [("train", "val"), ("train", "test"), ("Train", "Valid"), ("training", "validation"), ("train2017", "val2017"),
          ("train_set", "dev"), ("TRAIN", "Eval"), ("train-images", "test-images"), ("seg_train", "seg_test"), ("Train ", "dev"),
          ("trainA", "testA")]  # fmt: skip


@pytest.mark.parametrize(("training", "held_out"), SPLITS)
def test_splits_are_known_by_the_names_of_their_parts(training: str, held_out: str) -> None:
    names = [f"x/{training}/rose/1.png", f"x/{held_out}/rose/1.png", f"x/{training}/2.png"]
    folders = Folders.of(names)
    assert (folders.around, folders.training, folders.held_out) == ("x/", (training,), (held_out,))
    assert [folders.label(name) for name in names] == ["rose", "rose", None]
    assert [folders.is_held_out(name) for name in names] == [False, True, False]


@pytest.mark.parametrize("others", [("plane", "ship"), ("trainer", "test"), ("train", "valley"), ("train", "tester"), ("train",),
                                    ("bullet train", "crash test")])  # fmt: skip
def test_names_that_are_no_split(others: tuple[str, ...]) -> None:
    assert not Folders.of([f"{name}/1.png" for name in (*others, "car")]).given


def test_a_split_inside_of_every_class_is_known_too() -> None:
    names = [f"{kind}/{part}/1.png" for kind in ("rose", "tulip") for part in ("train", "test")]
    folders = Folders.of(names)
    assert (folders.training, folders.held_out, folders.inside) == (("train",), ("test",), True)
    assert [folders.label(name) for name in names] == ["rose", "rose", "tulip", "tulip"]
    assert [folders.is_held_out(name) for name in names] == [False, True, False, True]
    assert not Folders.of([*names, "daisy/1.png"]).given and not Folders.of([*names, "daisy/x/1.png"]).given


def test_a_split_in_the_names_of_large_files_is_said(
    tmp_path: Path, encode: Encode, pictures: Any, data_settings: Make, capsys: Any
) -> None:
    (tmp_path / "set").mkdir()
    for name, drawn in zip(("train-00000-of-00001", "test-00000-of-00001"), (pictures(8), pictures(4, seed=1)), strict=True):
        table = pa.table({"image": [encode(picture) for picture in drawn], "label": [0, 1] * (len(drawn) // 2)})
        pq.write_table(table, tmp_path / "set" / f"{name}.parquet")
    manifest = quietly(data_settings(source="parquet", path=str(tmp_path / "set")), tmp_path / "packed")
    assert (manifest.source["training"], manifest.source["held_out"]) == ("train", "test")
    assert "the source's own split (train; test) is pooled and drawn anew" in "".join(capsys.readouterr())
    numbered = ["a/val-000001.tar", "a/train-000000.tar", "a/train-000001.tar"]
    assert split_of_files(numbered) == {"training": "train", "held_out": "val"}
    assert split_of_files(["train-0.tar", "train-1.tar"]) == split_of_files(["a.tar", "b.tar"]) == {}


@pytest.fixture
def given(flowers: dict[str, bytes], tmp_path: Path) -> Path:
    """train/, val/ and test/ with 6, 3 and 3 of the images."""
    parts = ("train", "val", "train", "test")
    return put(tmp_path / "given", {f"{parts[n // 3]}/{name}": one for n, (name, one) in enumerate(flowers.items())})


def images(folder: Path, split: str) -> set[bytes]:
    packed = PackedDataset(folder, split)
    return {image.tobytes() for image in packed.images(np.arange(len(packed)))}


@pytest.mark.parametrize("labels", [True, False])
def test_a_split_is_never_taken_for_classes(labels: bool, given: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(given), labels=labels)
    refused(settings, "data.path", "holds the folders train, test, val: a split, no classes; set data.split: given and "
            "data.holdout: 0.0 to hold out test, val as it stands, or data.split: pool")  # fmt: skip


def test_the_given_split_is_used(
    given: Path, flowers: dict[str, bytes], tmp_path: Path, data_settings: Make, capsys: Any
) -> None:
    settings = data_settings(source="folder", path=str(given), split="given", holdout=0.0)
    found = quietly(settings, tmp_path / "packed")
    assert found.classes == ["daisy", "rose", "tulip"] and found.split_conflicts == 0
    assert {name: split.class_counts for name, split in found.splits.items()} == {"train": [2, 2, 2], "test": [2, 2, 2]}
    assert (found.source["training"], found.source["held_out"], found.processing["split"]) == ("train", "test, val", "given")
    assert capsys.readouterr().err == "data: the source's own split is used: train for training, test, val held out\n"
    (tmp_path / "alone").mkdir()
    shutil.copytree(given / "train", tmp_path / "alone" / "flowers")
    quietly(data_settings(source="folder", path=str(tmp_path / "alone"), holdout=0.0), tmp_path / "training")
    assert images(tmp_path / "packed", "train") == images(tmp_path / "training", "train")


def test_the_given_split_is_pooled(
    given: Path, flowers: dict[str, bytes], tmp_path: Path, data_settings: Make, capsys: Any
) -> None:
    bare = quietly(data_settings(source="folder", path=str(put(tmp_path / "bare", flowers)), holdout=0.4), tmp_path / "one")
    found = quietly(data_settings(source="folder", path=str(given), split="pool", holdout=0.4), tmp_path / "two")
    assert found.content_hash == bare.content_hash and found.classes == ["daisy", "rose", "tulip"]
    assert capsys.readouterr().err == "data: the source's own split (train; test, val) is pooled and drawn anew\n"


def test_an_image_in_both_parts_is_held_out_and_said(given: Path, tmp_path: Path, data_settings: Make, capsys: Any) -> None:
    settings = data_settings(source="folder", path=str(given), split="given", holdout=0.0)
    before = quietly(settings, tmp_path / "one")
    for name in ("1", "4"):
        (file,) = given.glob(f"*/*/{name}.png")
        assert file.parts[-3] == ("val" if name == "4" else "train")
    shutil.copy(given / "val" / "rose" / "4.png", given / "train" / "rose" / "again.png")
    capsys.readouterr()
    found = quietly(settings, tmp_path / "two")
    assert (found.split_conflicts, found.duplicates, found.content_hash) == (1, 1, before.content_hash)
    assert "data: images both among those for training and those held out, which are held out: 1\n" in capsys.readouterr().err
    parts = [tmp_path / "parts" / str(part) for part in (1, 2, 3, 4)]
    for part, folder in enumerate(parts, start=1):
        pack_part(settings, part, 4, folder, workers=1, progress=False)
    assert merge(settings, parts, tmp_path / "three", progress=False) == found
    shutil.rmtree(given / "train")
    shutil.copytree(given / "val", given / "train")
    with pytest.raises(
        DataError, match=r"data\.split: given leaves no image for training: each of them is also among those held"
    ):
        quietly(settings, tmp_path / "four")


def test_images_beside_a_split_are_refused(given: Path, tmp_path: Path, data_settings: Make) -> None:
    for split, holdout in (("given", 0.0), ("pool", 0.1)):
        settings = data_settings(source="folder", path=str(given), split=split, holdout=holdout)
        put(given, {"notes.txt": b"not an image, so it is rejected as everywhere"})
        assert len(read(settings)) == 13
        put(given, {"extra/rose/1.png": b"x"})
        refused(settings, "extra/rose/1.png lies in none of the folders train, test, val of its split; move into one of them")
        shutil.rmtree(given / "extra")


def test_a_split_that_is_not_there(flowers: dict[str, bytes], tmp_path: Path, data_settings: Make) -> None:
    path = str(put(tmp_path / "raw", flowers))
    refused(data_settings(source="folder", path=path, split="pool"), "has no split in its folders", "set data.split: draw")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["data.base.split=given", "data.base.source=folder"],
            "data.base: split: given holds out what .* holdout 0.1 .* set holdout: 0.0",
        ),
        (
            ["data.base.split=pool"],
            "data.base: split: pool is for the folders of folder, zip, s3 and the files of parquet, not for mnist-5k; "
            "set split: draw",
        ),
        (["data.target.split=all"], "data.target.split: should be 'draw', 'given' or 'pool'"),
    ],
)
def test_settings_that_contradict_each_other(overrides: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(overrides=overrides)


# ---- folders that are measured


def test_measured_folders_are_read_alike(flowers: dict[str, bytes], given: Path, tmp_path: Path) -> None:
    bare = open_images(put(tmp_path / "bare", flowers), progress=False)
    wrapped = put(
        tmp_path / "wrapped", {**{f"flowers/{name}": one for name, one in flowers.items()}, **dict.fromkeys(JUNK, b"x")}
    )
    for path in (wrapped, zipped(tmp_path / "flowers.zip", wrapped)):
        found = open_images(path, progress=False)
        assert found.classes == bare.classes == ["daisy", "rose", "tulip"] and found.content_hash == bare.content_hash
        assert found.notes == [*bare.notes, "all images lie in flowers/, which was looked through"]
    found = open_images(given, progress=False)
    assert len(found) == 12 and found.classes == ["daisy", "rose", "tulip"]
    assert found.notes[-1] == "the folders train, test, val are a split and no classes; the images of all of them are measured"
