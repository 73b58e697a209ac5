"""Records of several fields: pairs stay pairs, in every order, split and number of processes; what lacks its partner is named."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from atelier.data.packed import PackedDataset
from tests.support.packing import Make, quietly, tree
from tests.support.parts_of_sets import divided, merged

Encode = Callable[..., bytes]
Pictures = Callable[..., list[np.ndarray]]
PAIR = {"input": {"from": "lines", "channels": 1}, "target": {"from": "colour"}}
COUNT = 24


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def pairs(tmp_path: Path, encode: Encode, pictures: Pictures) -> Path:
    """Pictures in color and, as TIFF, their negatives: 24 in two classes."""
    for number, picture in enumerate(pictures(COUNT, shape=(32, 32, 3))):
        name = f"{'ab'[number % 2]}/{number}"
        put(tmp_path / "raw" / "colour" / f"{name}.png", encode(picture))
        put(tmp_path / "raw" / "lines" / f"{name}.tif", encode(255 - picture[..., 0], "TIFF"))
    return tmp_path / "raw"


@pytest.fixture
def make(pairs: Path, data_settings: Make) -> Make:
    def settings(**changes: Any) -> DataSettings:
        values = {"source": "folder", "path": str(pairs), "channels": 3, "resolution": 32, "holdout": 0.3, "fields": PAIR}
        return data_settings(**{**values, **changes})

    return settings


def records(folder: Path, split: str = "all") -> tuple[PackedDataset, np.ndarray, np.ndarray]:
    packed = PackedDataset(folder, split)
    read = packed.read(np.arange(len(packed)))
    return packed, read["input"], read["target"]


def are_pairs(folder: Path, split: str = "all") -> int:
    packed, inputs, targets = records(folder, split)
    assert inputs.shape == (len(packed), 1, 32, 32) and targets.shape == (len(packed), 3, 32, 32)
    assert (inputs[:, 0] == 255 - targets[:, 0]).all()
    return len(packed)


def test_pairs_stay_pairs(make: Make, tmp_path: Path) -> None:
    manifest = quietly(make(), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == manifest.count == COUNT
    assert are_pairs(tmp_path / "packed", "train") + are_pairs(tmp_path / "packed", "test") == COUNT
    packed, _, targets = records(tmp_path / "packed")
    assert (packed.channels, packed.resolution, list(packed.fields)) == (3, 32, ["input", "target"])
    assert (packed.images(np.array([5, 0])) == targets[[5, 0]]).all(), "the target is what is imitated"
    assert packed.classes == ["a", "b"] and load_manifest(tmp_path / "packed") == manifest
    assert manifest.format == 2 and {"fields"} <= json.loads((tmp_path / "packed" / "manifest.json").read_text()).keys()


def test_order_and_hash_are_those_of_whole_records(make: Make, tmp_path: Path) -> None:
    manifest = quietly(make(labels=False), tmp_path / "packed")
    total = hashlib.sha256(b'[32,{"input":1,"target":3},[]]')
    for split in ("train", "test"):
        packed, inputs, targets = records(tmp_path / "packed", split)
        pairs = zip(inputs.transpose(0, 2, 3, 1), targets.transpose(0, 2, 3, 1), strict=True)
        digests = [hashlib.sha256(first.tobytes() + second.tobytes()).digest() for first, second in pairs]
        assert digests == sorted(digests) and all((digest[0] < 0.3 * 256) == (split == "test") for digest in digests)
        total.update(f"\n{split} {len(packed)}\n".encode() + b"".join(digests) + bytes(4 * len(packed)))
    assert manifest.content_hash == total.hexdigest()


def test_only_equal_records_are_duplicates(make: Make, pairs: Path, tmp_path: Path) -> None:
    shutil.copy(pairs / "colour/a/0.png", pairs / "colour/a/2.png")  # one target of two inputs
    shutil.copy(pairs / "colour/b/1.png", pairs / "colour/b/3.png")
    shutil.copy(pairs / "lines/b/1.tif", pairs / "lines/b/3.tif")
    manifest = quietly(make(), tmp_path / "packed")
    assert (manifest.count, manifest.duplicates) == (COUNT - 1, 1)


def test_other_readers_see_the_same(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    packed, inputs, targets = records(tmp_path / "packed", "train")
    with tarfile.open(tmp_path / "packed" / "train-00000.tar") as archive:
        names = archive.getnames()
        assert names[:3] == ["000000000.input.pgm", "000000000.target.ppm", "000000000.cls"] and len(names) == 3 * len(packed)
        for index in range(len(packed)):
            key = f"{index:09d}"
            read = {
                suffix: archive.extractfile(f"{key}.{suffix}").read()  # type: ignore[union-attr]
                for suffix in ("input.pgm", "target.ppm", "cls")
            }
            assert (np.asarray(Image.open(io.BytesIO(read["input.pgm"]))) == inputs[index, 0]).all()
            assert (np.asarray(Image.open(io.BytesIO(read["target.ppm"]))) == targets[index].transpose(1, 2, 0)).all()
            assert int(read["cls"]) == packed.labels[index]


@pytest.mark.usefixtures("many_processes")
def test_parts_and_processes_make_the_same_bytes(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "one", workers=1)
    expected = tree(tmp_path / "one")
    quietly(make(), tmp_path / "two", workers=2)
    assert tree(tmp_path / "two") == expected
    assert merged(make(), divided(make(), tmp_path / "parts", 3), tmp_path / "merged") == expected


def test_the_order_of_fields_in_params_does_not_matter(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "one")
    quietly(make(fields=dict(reversed(PAIR.items()))), tmp_path / "other")
    assert tree(tmp_path / "one") == tree(tmp_path / "other")


@pytest.mark.parametrize(
    "place", ["zip/{field}/{name}", "zip/{part}/{field}/{name}", "{field}/{part}/{name}", "{part}/{name}/{field}"]
)
def test_folders_around_and_a_given_split(place: str, make: Make, pairs: Path, tmp_path: Path) -> None:
    """The folder of a field may stand anywhere; what is left of the name means what it means without fields."""
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for file in sorted(pairs.rglob("*.*")):
            field, label, name = file.relative_to(pairs).parts
            part = "train" if int(file.stem) < 16 else "val"
            folder = place.format(field=field, part=part, name=label)
            archive.write(file, f"{folder}/{name}")
    split: dict[str, Any] = {"split": "given", "holdout": 0.0} if "{part}" in place else {}
    manifest = quietly(make(source="zip", path=str(tmp_path / "raw.zip"), **split), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT and manifest.classes == ["a", "b"]
    assert not split or manifest.splits["test"].count == 8
    assert manifest.source.get("around") == ("zip/" if place.startswith("zip") else None)


def test_what_lacks_its_partner_is_named(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "lines/a/4.tif").unlink()
    (pairs / "colour/b/7.png").unlink()
    with pytest.raises(DataError) as caught:
        quietly(make(), tmp_path / "packed")
    message = str(caught.value)
    assert message.startswith("2 of 24 images are rejected, more than data.max_rejected = 0 (")
    assert "a/4.png: no file of that name in lines, beside colour/a/4.png" in message
    assert "b/7.tif: no file of that name in colour, beside lines/b/7.tif" in message
    manifest = quietly(make(max_rejected=2), tmp_path / "packed")
    assert [one.name for one in manifest.rejected] == ["a/4.png", "b/7.tif"] and are_pairs(tmp_path / "packed") == COUNT - 2


def test_two_files_of_one_name_are_no_record(make: Make, pairs: Path, tmp_path: Path) -> None:
    shutil.copy(pairs / "colour/a/0.png", pairs / "colour/a/0.jpg")
    with pytest.raises(DataError, match=r"colour/a/0\.jpg and colour/a/0\.png are both its colour; remove one"):
        quietly(make(), tmp_path / "packed")


def test_only_the_suffix_of_an_image_is_no_part_of_a_name(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "colour/a/0.png").rename(pairs / "colour/a/frame.0.png")
    (pairs / "lines/a/0.tif").rename(pairs / "lines/a/frame.0.tif")
    (pairs / "colour/a/2.png").rename(pairs / "colour/a/frame.2")
    (pairs / "lines/a/2.tif").rename(pairs / "lines/a/frame.2")
    quietly(make(), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT
    put(pairs / "colour/a/4.txt", b"how it was made")
    with pytest.raises(DataError, match=r"a/4\.txt: no file of that name in lines, beside colour/a/4\.txt"):
        quietly(make(), tmp_path / "other")


def test_names_of_another_system_are_the_same(make: Make, pairs: Path, tmp_path: Path) -> None:
    """macOS stores an accent apart from its letter."""
    (pairs / "colour/a/0.png").rename(pairs / "colour/a/e\u0301.png")
    (pairs / "lines/a/0.tif").rename(pairs / "lines/a/\u00e9.tif")
    quietly(make(), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT


def test_a_broken_picture_rejects_its_record(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "lines/a/0.tif").write_bytes(b"no picture")
    (pairs / "colour/b/1.png").write_bytes(b"")
    manifest = quietly(make(max_rejected=2), tmp_path / "packed")
    reasons = {one.name: one.reason for one in manifest.rejected}
    assert reasons["a/0.png"].startswith("input: not an image of a known format") and reasons["b/1.png"] == "target: empty file"
    assert are_pairs(tmp_path / "packed") == COUNT - 2


def test_files_of_no_field_are_counted_and_not_read(
    make: Make, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(pairs / "masks/a/0.png", b"no picture")
    put(pairs / "README.md", b"how they were made")
    manifest = quietly(make(), tmp_path / "packed")
    assert manifest.source["not_read"] == "2, first README.md" and manifest.count == COUNT
    assert "files in no field's folder, which are not read: 2, first README.md" in capsys.readouterr().err


def test_a_folder_that_is_not_there(make: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        quietly(make(fields={"input": {"from": "sketches"}, "target": {"from": "colour"}}), tmp_path / "packed")
    assert "has no files in a folder sketches; its folders are colour/a, colour/b, lines/a, lines/b" in str(caught.value)


def test_a_file_in_the_folders_of_two_fields(make: Make, pairs: Path, tmp_path: Path, encode: Encode) -> None:
    put(pairs / "colour/lines/x.png", encode(np.zeros((32, 32, 3), np.uint8)))
    with pytest.raises(DataError, match=r"colour/lines/x\.png lies in the folders of several fields, lines, colour"):
        quietly(make(), tmp_path / "packed")


def test_a_folder_within_folders(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "edges").mkdir()
    (pairs / "lines").rename(pairs / "edges/fine")
    quietly(make(fields=PAIR | {"input": {"from": "edges/fine", "channels": 1}}), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT


def test_the_folder_is_that_of_the_name_by_default(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "lines").rename(pairs / "input")
    (pairs / "colour").rename(pairs / "target")
    quietly(make(fields={"input": {"channels": 1}, "target": {}}), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT


def test_a_single_field_is_an_image_of_format_1(make: Make, pairs: Path, tmp_path: Path) -> None:
    """Whose bytes are those of the folder alone, so that what was measured of it stays comparable."""
    quietly(make(path=str(pairs / "colour"), fields={}), tmp_path / "one")
    manifest = quietly(make(fields={"image": {"from": "colour"}}), tmp_path / "other")
    assert manifest.format == 1 and list(PackedDataset(tmp_path / "other").fields) == ["image"]
    for name, content in tree(tmp_path / "one").items():
        if name != "manifest.json":
            assert (tmp_path / "other" / name).read_bytes() == content
    assert load_manifest(tmp_path / "one").content_hash == manifest.content_hash


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"input": {}, "output": {}}}, "none is target, which is what is imitated; name it so"),
        ({"fields": {"photo": {}}}, "none is target"),
        ({"fields": {"label": {}, "target": {}}}, "at most 32 letters and is not label"),
        ({"fields": {"a" * 33: {}, "target": {}}}, "at most 32 letters"),
        ({"fields": {"a.b": {}, "target": {}}}, "pattern"),
        ({"fields": {"input": {"from": "x"}, "target": {"from": "x/"}}}, "give each a place of its own"),
        ({"fields": {"input": {"from": "left"}, "target": {}}}, "all have to be halves of one picture"),
        ({"fields": {"input": {"channels": 1.0}, "target": {}}}, "should be a whole number"),
        ({"fields": {"input": {}, "target": {"channels": 1}}}, "channels is 3, and that of the field that is imitated 1"),
        ({"source": "lmdb"}, "fields are folders of folder, zip, s3, columns of parquet, or halves"),
    ],
)
def test_fields_that_cannot_be(changes: dict[str, Any], said: str, make: Make) -> None:
    with pytest.raises(ValidationError, match=said):
        make(**changes)


def test_manifests_of_fields_that_cannot_be_used(make: Make, tmp_path: Path) -> None:
    quietly(make(), tmp_path / "packed")
    path = tmp_path / "packed" / "manifest.json"
    values = json.loads(path.read_text())
    fields = values["fields"]
    for changes, message in (
        ({"format": 1}, "format 1 with 2 fields"),
        ({"channels": 1}, "not those of the field that is imitated"),
        ({"fields": fields | {"input": fields["input"] | {"channels": 4}}}, "fields.input.channels"),
        ({"fields": fields | {"input": fields["input"] | {"channels": 3}}}, "layout does not fit"),
    ):
        path.write_text(json.dumps(values | changes))
        with pytest.raises(DataError, match=message):
            PackedDataset(tmp_path / "packed")


# ---- halves and columns


def test_halves_of_one_picture(data_settings: Make, tmp_path: Path, encode: Encode, pictures: Pictures) -> None:
    """Their bytes are those of the same pictures in folders, with an EXIF that turns the whole."""
    settings = {"source": "folder", "channels": 3, "resolution": 32, "holdout": 0.3, "labels": False}
    turned = Image.Exif()
    turned[0x0112] = 6  # shown turned by 90 degrees to the right
    for number, (left, right) in enumerate(zip(pictures(8), pictures(8, seed=1), strict=True)):
        both = np.concatenate([left, right], axis=1)
        put(tmp_path / "raw/train" / f"{number}.png", encode(np.rot90(both).copy(), exif=turned))
        put(tmp_path / "apart/a/" / f"{number}.png", encode(left))
        put(tmp_path / "apart/b/" / f"{number}.png", encode(right))
    fields = {"input": {"from": "left"}, "target": {"from": "right"}}
    quietly(data_settings(**settings, path=str(tmp_path / "raw"), fields=fields), tmp_path / "halves")
    fields = {"input": {"from": "a"}, "target": {"from": "b"}}
    quietly(data_settings(**settings, path=str(tmp_path / "apart"), fields=fields), tmp_path / "folders")
    for shard in (tmp_path / "folders").glob("*.tar"):
        assert (tmp_path / "halves" / shard.name).read_bytes() == shard.read_bytes()
    fields = {"image": {"from": "right"}}
    manifest = quietly(data_settings(**settings, path=str(tmp_path / "raw"), fields=fields), tmp_path / "right")
    alone = quietly(data_settings(**settings, path=str(tmp_path / "apart/b")), tmp_path / "alone")
    assert manifest.content_hash == alone.content_hash and manifest.count == 8


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((32, 63, 3), "63 x 32 has no two equal halves; its width has to be even"),
        ((32, 14, 3), "7 x 32 has a side shorter than min_side = 8"),
    ],
)
def test_what_has_no_halves(
    shape: tuple[int, ...], said: str, data_settings: Make, tmp_path: Path, encode: Encode, pictures: Pictures
) -> None:
    put(tmp_path / "raw/0.png", encode(pictures(1, shape=shape)[0]))
    fields = {"input": {"from": "left"}, "target": {"from": "right"}}
    settings = data_settings(source="folder", path=str(tmp_path / "raw"), labels=False, channels=3, fields=fields)
    with pytest.raises(DataError, match=f"0.png: input: {said}"):
        quietly(settings, tmp_path / "packed")


def test_a_folder_that_is_called_left(make: Make, pairs: Path, tmp_path: Path) -> None:
    (pairs / "lines").rename(pairs / "left")
    quietly(make(fields={"input": {"from": "left/", "channels": 1}, "target": {"from": "colour"}}), tmp_path / "packed")
    assert are_pairs(tmp_path / "packed") == COUNT


def write_table(path: Path, pairs: Path, broken: int | None = None) -> None:
    read = [file.read_bytes() for file in sorted((pairs / "colour").rglob("*.png"))]
    lines: list[Any] = [{"bytes": file.read_bytes(), "path": None} for file in sorted((pairs / "lines").rglob("*.tif"))]
    if broken is not None:
        lines[broken] = None
    labels = [file.parent.name for file in sorted((pairs / "colour").rglob("*.png"))]
    pq.write_table(pa.table({"kind": labels, "drawn": pa.array(read), "lines": lines}), path, row_group_size=7)


def test_columns(make: Make, pairs: Path, tmp_path: Path) -> None:
    """The same records as in folders, up to the manifest's words on the source."""
    write_table(tmp_path / "pairs.parquet", pairs)
    fields = {"input": {"from": "lines", "channels": 1}, "target": {"from": "drawn"}}
    changes = {"source": "parquet", "path": str(tmp_path / "pairs.parquet"), "label_column": "kind"}
    settings = make(**changes, fields=fields)
    quietly(settings, tmp_path / "packed")
    quietly(make(), tmp_path / "folders")
    shards = {name: content for name, content in tree(tmp_path / "folders").items() if name.endswith(".tar")}
    assert {name: content for name, content in tree(tmp_path / "packed").items() if name.endswith(".tar")} == shards
    whole = tree(tmp_path / "packed")
    assert merged(settings, divided(settings, tmp_path / "parts", 3), tmp_path / "merged") == whole
    write_table(tmp_path / "pairs.parquet", pairs, broken=3)
    with pytest.raises(DataError, match=r"pairs\.parquet#3: input: the row holds no image bytes"):
        quietly(settings, tmp_path / "other")
    with pytest.raises(DataError, match=r"no column 'input'; its columns are kind, drawn, lines: set data\.fields\.NAME\.from"):
        quietly(make(**changes, fields={"input": {}, "target": {"from": "drawn"}}), tmp_path / "other")
    with pytest.raises(DataError, match=r"column 'kind' is .*string, not encoded images .bytes.; set data\.fields\.NAME\.from"):
        quietly(make(**changes, fields={"input": {"from": "kind"}, "target": {"from": "drawn"}}), tmp_path / "other")
