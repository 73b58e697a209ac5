"""Captions and recordings as files of a tree, beside their pictures or in folders of their own: the same set as of Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from tests.support.annotated import embedded_fixture, wav, write_rows
from tests.support.packing import Make, quietly, tree
from tests.support.parts_of_sets import divided, merged

__all__ = ["embedded_fixture"]

CAPTIONS = {"a": ["a cat, sitting", "ein Kätzchen"], "b": ["a house"]}
SOUNDS = {"a": [wav(300), wav(500)], "b": [wav(400)]}
FILES_OF = {"a": ("a.anna.wav", "a.wav"), "b": ("b.wav",)}
OF_PARQUET = {"image": {}, "text": {"kind": "text"}, "sound": {"kind": "sound"}}
BESIDE = {name: field | {"from": "."} for name, field in OF_PARQUET.items()}


def picture(name: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(ord(name)).integers(0, 256, (32, 32), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def put(root: Path, files: dict[str, bytes | str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def beside(folder: str = "") -> dict[str, bytes | str]:
    """Both pictures, their captions and recordings in one folder."""
    files: dict[str, bytes | str] = {f"{folder}{name}.png": picture(name) for name in CAPTIONS}
    files |= {f"{folder}{name}.txt": "\n".join(said) + "\n\n" for name, said in CAPTIONS.items()}
    return files | {f"{folder}{file}": one for name in SOUNDS for file, one in zip(FILES_OF[name], SOUNDS[name], strict=True)}


@pytest.fixture(name="make")
def make_fixture(tmp_path: Path, data_settings: Make, embedded: list[list[str]]) -> Callable[..., DataSettings]:
    def make(**changes: Any) -> DataSettings:
        values = {"source": "folder", "path": str(tmp_path / "raw"), "fields": BESIDE, "resolution": 32, "labels": False}
        return data_settings(**values | {"holdout": 0.0} | changes)

    return make


@pytest.fixture(name="of_parquet")
def of_parquet_fixture(make: Make, tmp_path: Path) -> dict[str, bytes]:
    """What is packed of Parquet, but the manifest."""
    rows = [{"image": picture(name), "text": CAPTIONS[name], "sound": SOUNDS[name]} for name in CAPTIONS]
    write_rows(tmp_path / "rows.parquet", rows)
    quietly(make(source="parquet", path=str(tmp_path / "rows.parquet"), fields=OF_PARQUET), tmp_path / "of-parquet")
    return without_manifest(tmp_path / "of-parquet")


def without_manifest(folder: Path) -> dict[str, bytes]:
    files = tree(folder)
    del files["manifest.json"]
    return files


FOLDERS = {".png": "image", ".txt": "text", ".wav": "sound"}
LAYOUTS: dict[str, tuple[dict[str, bytes | str], dict[str, Any]]] = {
    "beside": (beside(), {}),
    "folders": (
        {f"{FOLDERS[name[-4:]]}/{name}": content for name, content in beside().items()},
        {"text": "text", "sound": "sound", "image": "image"},
    ),
}


@pytest.mark.parametrize("layout", [*LAYOUTS, "csv", "jsonl"])
def test_a_tree_packs_to_the_bytes_of_parquet(layout: str, make: Make, of_parquet: dict[str, bytes], tmp_path: Path) -> None:
    files, places = LAYOUTS.get(layout, (beside("pictures/"), {}))
    fields: dict[str, dict[str, str]] = {name: field | {"from": places.get(name, ".")} for name, field in OF_PARQUET.items()}
    if layout in ("csv", "jsonl"):
        files = {name: content for name, content in files.items() if not name.endswith(".txt")}
        fields["text"]["from"] = f"said.{layout}"
        rows: list[dict[str, Any]] = [{"file_name": f"pictures/{name}.png", "text": said} for name, said in CAPTIONS.items()]
        lines = ["file_name,text"] + [f'pictures/{name}.png,"{one}"' for name, said in CAPTIONS.items() for one in said]
        files[f"said.{layout}"] = "\ufeff" + "\r\n".join(lines) if layout == "csv" else "\n".join(map(json.dumps, rows))
    put(tmp_path / "raw", files)
    quietly(make(fields=fields), tmp_path / "packed")
    assert without_manifest(tmp_path / "packed") == of_parquet
    found, wanted = (load_manifest(tmp_path / name) for name in ("packed", "of-parquet"))
    assert (found.content_hash, found.fields) == (wanted.content_hash, wanted.fields) and "not_read" not in found.source
    settings = make(fields=fields)
    assert merged(settings, divided(settings, tmp_path / "parts", 2), tmp_path / "merged") == tree(tmp_path / "packed")


def test_folders_of_classes_and_of_a_split_mean_what_they_mean(make: Make, tmp_path: Path) -> None:
    put(tmp_path / "raw", {name.replace("a.", "train/x/a.").replace("b.", "test/y/b."): one for name, one in beside().items()})
    manifest = quietly(make(split="given", labels=True), tmp_path / "packed")
    assert manifest.classes == ["x", "y"]
    assert {name: split.count for name, split in manifest.splits.items()} == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a.txt": None}, r"a.png: no file of that name in \*.txt, beside a.png, a.anna.wav, a.wav"),
        ({"b.wav": None}, r"b.png: no file of that name in \*.wav, beside b.png, b.txt"),
        ({"c.txt": "alone"}, r"c.txt: no file of that name in image, \*.wav, beside c.txt"),
        ({"a.txt": " \n"}, "a.png: text: a.txt holds no caption"),
        ({"a.txt": b"\xe4"}, "a.png: text: a.txt: is not UTF-8 .*; save it as that"),
        ({"a.txt": "x" * 1001}, "a.png: text: a caption of 1001 characters; shorten it to 1000"),
        ({"a.wav": b"MP3"}, "a.png: sound: a.wav is no WAV file of PCM or floats"),
        ({"a.jpg": picture("c")}, "a.jpg and a.png are both its image; remove one"),
    ],
)
def test_what_is_missing_or_unfit_is_named(changed: dict[str, bytes | str | None], said: str, make: Make, tmp_path: Path) -> None:
    files = {name: content for name, content in (beside() | changed).items() if content is not None}
    put(tmp_path / "raw", files)
    with pytest.raises(DataError, match=said):
        quietly(make(), tmp_path / "packed")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("said.csv", "file_name,text\na.png,a cat\nc.png,none\n", "said.csv: line 3 is of c.png, and there is no such picture"),
        ("said.csv", "file_name,caption\na.png,a cat\n", "said.csv: line 2 has no text; write it, or take the row out"),
        ("said.csv", "picture\na.png\n", "said.csv: line 2 has no file_name and no text"),
        ("said.csv", b"file_name,text\na.png,\xe4\n", r"said.csv: is not UTF-8 \(.* at byte 21\); save it as that"),
        ("said.csv", 'file_name,text\na.png,"a cat\n', "said.csv: line 2 is no CSV"),
        ("said.jsonl", '{"file_name": "a.png", "text": "a cat"}\nb.png\n', "said.jsonl: line 2 is no JSON"),
        ("said.jsonl", '["a.png"]\n', "said.jsonl: line 1 is no JSON object"),
        (
            "said.jsonl",
            '{"file_name": "a.png", "text": 7}\n',
            "said.jsonl: line 1: file_name is a text, and text a text or a list",
        ),
        ("said.jsonl", '{"file_name": "a.png", "text": "a cat"}\n', "b.png: no row of that name in said.jsonl, beside b.png"),
        ("other.csv", "file_name,text\n", r"raw' has no files said.csv; it has no folders: correct data.fields.NAME.from"),
    ],
)
def test_a_file_of_rows_is_named_with_its_line(name: str, content: bytes | str, said: str, make: Make, tmp_path: Path) -> None:
    place = name if name.startswith("said") else "said.csv"
    pictures: dict[str, bytes | str] = {f"{one}.png": picture(one) for one in "ab"}
    put(tmp_path / "raw", pictures | {name: content})
    with pytest.raises(DataError, match=said):
        quietly(make(fields={"image": {"from": "."}, "text": {"kind": "text", "from": place}}), tmp_path / "packed")


def test_two_fields_of_one_kind_need_places_of_their_own(make: Make) -> None:
    with pytest.raises(ValidationError, match="give each a place of its own"):
        make(fields=BESIDE | {"more": {"kind": "text", "from": "."}})
    with pytest.raises(ValidationError, match="give each a place of its own"):
        make(source="parquet", fields=BESIDE)
