"""Captions and recordings beside pictures: packed once each, chosen by position, known by what they are made of."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from atelier.data.packed import PackedDataset
from atelier.extractors import sentences
from atelier.io.sound import log_mel
from atelier.training.batches import RESIDENT_BYTES, Batches
from tests.support.annotated import embedded_fixture, vectors, wav, write_rows
from tests.support.packing import Make, quietly, tree
from tests.support.parts_of_sets import divided, merged
from tests.support.reading import Encode, Pictures

__all__ = ["embedded_fixture"]

COUNT = 10
WORDS = [["seven", "the digit  seven "], ["eight"], ["nine", "a 9", "a nine"]]
FIELDS = {"image": {}, "text": {"kind": "text", "from": "caption"}, "sound": {"kind": "sound"}}


def spoken(number: int) -> list[bytes]:
    """One to four recordings, of which records share some."""
    return [wav(200 + 100 * ((number + take) % 6)) for take in range(1 + number % 4)]


@pytest.fixture(name="rows")
def rows_fixture(encode: Encode, pictures: Pictures) -> list[dict[str, Any]]:
    return [
        {"image": encode(picture), "caption": WORDS[number % 3], "sound": spoken(number), "label": number % 3}
        for number, picture in enumerate(pictures(COUNT))
    ]


@pytest.fixture(name="make")
def make_fixture(tmp_path: Path, data_settings: Make) -> Callable[..., DataSettings]:
    def make(**changes: Any) -> DataSettings:
        values = {"source": "parquet", "path": str(tmp_path / "raw"), "fields": FIELDS, "resolution": 32, "holdout": 0.2}
        return data_settings(**values | changes)

    (tmp_path / "raw").mkdir()
    return make


@pytest.fixture(name="packed")
def packed_fixture(rows: list[dict[str, Any]], make: Make, embedded: list[list[str]], tmp_path: Path) -> PackedDataset:
    write_rows(tmp_path / "raw" / "a.parquet", rows)
    quietly(make(), tmp_path / "packed")
    return PackedDataset(tmp_path / "packed", "all")


def test_a_record_has_its_captions_and_recordings(packed: PackedDataset, embedded: list[list[str]]) -> None:
    every = np.arange(COUNT)
    texts = packed.texts("text", every)
    assert texts == [[tidy(text) for text in WORDS[label]] for label in packed.labels]
    assert len(embedded) == 1 and sorted(embedded[0]) == sorted({tidy(text) for own in WORDS for text in own}), "each once"
    read = packed.read(every)
    assert read["image"].shape == (COUNT, 1, 32, 32) and read["image"].dtype == np.uint8
    assert np.array_equal(read["text"], vectors([own[0] for own in texts]))
    firsts = {log_mel(spoken(number)[0]).tobytes() for number in range(COUNT)}
    assert read["sound"].dtype == np.float32 and {one.tobytes() for one in read["sound"]} == firsts
    text, sound = packed.fields["text"].table, packed.fields["sound"].table
    assert text and (text.entries, text.most, text.shape) == (6, 3, [384])
    assert (text.encoder, text.weights) == ("minilm_l6_v2", sentences.WEIGHTS_SHA256)
    assert sound and (sound.entries, sound.most, sound.shape, sound.encoder) == (6, 4, [40, 64], "log_mel")


def test_the_entries_of_a_split_each_once(packed: PackedDataset) -> None:
    split = PackedDataset(packed.folder, "train")
    captions = sorted({text for own in split.texts("text", np.arange(len(split))) for text in own})
    found = split.entries("text")
    assert sorted(found.tolist()) == sorted(vectors(captions).tolist())
    assert len(split) > len(found), "records share them"


def tidy(text: str) -> str:
    return " ".join(text.split())


def test_the_shards_are_webdataset_of_npy(packed: PackedDataset, tmp_path: Path) -> None:
    table = np.load(tmp_path / "packed" / "text.npy", allow_pickle=False)
    captions = json.loads((tmp_path / "packed" / "text.json").read_text())
    assert np.array_equal(table.astype(np.float32), vectors(captions))
    with tarfile.open(tmp_path / "packed" / "train-00000.tar") as archive:
        assert archive.getnames()[:4] == [f"000000000.{rest}" for rest in ("image.pgm", "sound.npy", "text.npy", "cls")]
        member = archive.extractfile("000000000.text.npy")
        assert member
        found = np.load(io.BytesIO(member.read()), allow_pickle=False)
    assert [captions[row] for row in found if row >= 0] == packed.texts("text", np.array([0]))[0]


def test_a_batch_holds_one_of_each_drawn_by_position(packed: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(resident: int) -> Batches:
        monkeypatch.setattr("atelier.training.batches.RESIDENT_BYTES", resident)
        return Batches({"data": packed}, 3, torch.device("cpu"))

    there, read = batches(RESIDENT_BYTES), batches(0)
    whole = there.batch(0, 0, 400, 400)
    assert whole["text"].shape == (400, 384) and whole["sound"].shape == (400, 40, 64)
    assert whole["text"].dtype == whole["sound"].dtype == torch.float32
    for one in (there, read):
        parts = [one.batch(0, start, 100, start + 100) for start in (0, 100, 200, 300)]
        assert all(torch.equal(torch.cat([part[name] for part in parts]), whole[name]) for name in whole)
    assert not torch.equal(there.batch(1, 0, 400, 400)["text"], whole["text"])
    nine = whole["text"][whole["label"] == 2]
    drawn = [int((nine == torch.from_numpy(vectors([text]))).all(dim=1).sum()) for text in WORDS[2]]
    assert sum(drawn) == len(nine) and min(drawn) > 0.2 * len(nine), "all its captions are drawn alike"


def test_parts_merge_to_the_same_bytes(packed: PackedDataset, make: Make, tmp_path: Path) -> None:
    whole = tree(tmp_path / "packed")
    assert {"text.npy", "text.json", "sound.npy"} < whole.keys()
    assert merged(make(), divided(make(), tmp_path / "parts", 3), tmp_path / "merged") == whole


def test_a_damaged_part_is_named(packed: PackedDataset, make: Make, tmp_path: Path) -> None:
    folders = divided(make(), tmp_path / "parts", 2)
    (folders[0] / "annotations").write_text("{}")
    with pytest.raises(DataError, match="annotations: damaged, it is not what was written there; prepare part"):
        merged(make(), folders, tmp_path / "merged")


def test_a_record_is_what_was_said_not_the_numbers_made_of_it(
    packed: PackedDataset, rows: list[dict[str, Any]], make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sentences, "embed_texts", lambda texts: vectors(texts) * 1.5)
    again = quietly(make(), tmp_path / "again")
    assert (
        again.content_hash == packed.content_hash
        and tree(tmp_path / "again")["text.npy"] != tree(tmp_path / "packed")["text.npy"]
    )
    rows[0]["caption"] = ["seven", "the digit seven!"]
    write_rows(tmp_path / "raw" / "a.parquet", rows)
    assert quietly(make(), tmp_path / "other").content_hash != packed.content_hash
    monkeypatch.setattr(sentences, "WEIGHTS_SHA256", "another")
    write_rows(tmp_path / "raw" / "a.parquet", [row | {"caption": WORDS[row["label"]]} for row in rows])
    assert quietly(make(), tmp_path / "weights").content_hash != packed.content_hash


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"caption": None}, "a.parquet#4: text: the row holds no caption"),
        ({"caption": []}, "a.parquet#4: text: the row holds no caption"),
        ({"caption": ["  "]}, "a.parquet#4: text: an empty caption; write it"),
        ({"caption": ["x" * 1001]}, "a.parquet#4: text: a caption of 1001 characters; shorten it to 1000"),
        ({"sound": []}, "a.parquet#4: sound: the row holds no recording"),
        ({"sound": [wav(300), b"MP3"]}, "a.parquet#4: sound: recording 2 is no WAV file of PCM or floats .*ffmpeg"),
    ],
)
def test_what_lacks_its_caption_or_recording_is_named(
    change: dict[str, Any], said: str, rows: list[dict[str, Any]], make: Make, embedded: list[list[str]], tmp_path: Path
) -> None:
    rows[4] |= change
    write_rows(tmp_path / "raw" / "a.parquet", rows)
    with pytest.raises(DataError, match=said):
        quietly(make(), tmp_path / "packed")
    assert quietly(make(max_rejected=1), tmp_path / "packed").count == COUNT - 1
    (rejected,) = load_manifest(tmp_path / "packed").rejected
    assert f"{rejected.name}: {rejected.reason}".startswith("a.parquet#4: ")


def test_single_strings_dictionaries_and_structs_of_hugging_face(
    rows: list[dict[str, Any]], make: Make, embedded: list[list[str]], tmp_path: Path
) -> None:
    for row in rows:
        row |= {"caption": row["caption"][0], "sound": {"bytes": row["sound"][0], "path": "a.wav"}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    write_rows(tmp_path / "raw" / "a.parquet", rows, caption=pa.dictionary(pa.int32(), pa.string()), sound=kind)
    quietly(make(), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    assert [own for (own,) in packed.texts("text", np.arange(COUNT))] == [WORDS[label][0] for label in packed.labels]
    write_rows(tmp_path / "raw" / "a.parquet", [row | {"caption": 7} for row in rows], sound=kind)
    with pytest.raises(DataError, match=r"column 'caption' is int64, not captions \(strings\); set data.fields.NAME.from"):
        quietly(make(), tmp_path / "refused")


def test_files_of_a_split_hold_out_what_they_hold(
    rows: list[dict[str, Any]], make: Make, embedded: list[list[str]], tmp_path: Path
) -> None:
    write_rows(tmp_path / "raw" / "train-00000.parquet", rows[:7])
    with pytest.raises(DataError, match=r"its files have no split in their names.*split: given asks for; set .*split: draw"):
        quietly(make(split="given", holdout=0.0), tmp_path / "packed")
    write_rows(tmp_path / "raw" / "test-00000.parquet", rows[7:])
    manifest = quietly(make(split="given", holdout=0.0), tmp_path / "packed")
    assert {name: split.count for name, split in manifest.splits.items()} == {"train": 7, "test": 3}


def test_a_damaged_table_is_refused(packed: PackedDataset, tmp_path: Path) -> None:
    path = tmp_path / "packed" / "sound.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    with pytest.raises(DataError, match=r"sound.npy: damaged, its sha256 is not the manifest's; run `dvc repro`"):
        PackedDataset(tmp_path / "packed")
    path.unlink()
    with pytest.raises(DataError, match=r"sound.npy: cannot be read \(No such file"):
        PackedDataset(tmp_path / "packed")
    manifest = tmp_path / "packed" / "manifest.json"
    path.write_bytes(pickled := np.lib.format.magic(1, 0) + b"not a header")
    manifest.write_text(manifest.read_text().replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(pickled).hexdigest()))
    with pytest.raises(DataError, match=r"sound.npy: is no table"):
        PackedDataset(tmp_path / "packed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"text": {"kind": "text"}}}, "none is target"),
        ({"fields": {"image": {"kind": "text"}}}, "none is target"),
        ({"fields": FIELDS | {"text": {"kind": "text", "channels": 1}}}, "a text has no pixels; take channels"),
        ({"source": "idx"}, "texts and sounds are files of folder, zip, s3 or columns of parquet, and source is idx; choose one"),
        ({"fit": "whole"}, "a text says what all of a picture shows|a sound says what all of a picture shows"),
        ({"fields": FIELDS | {f"t{n}": {"kind": "text"} for n in range(4)}}, "6 fields are texts or sounds; keep 4 at most"),
    ],
)
def test_settings_that_mean_nothing(make: Make, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make(**changes)
