"""Parquet: encoded images in a column, labels as numbers, strings or names that the schema keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atelier.data.pack import pack
from atelier.data.sources import open_source
from tests.support.reading import RECIPE, Encode, Make, Pictures, read, refused

PARTS = (b"[]", b'{"names": "cat"}', b'{"names": [1]}')  # of damaged metadata


def write_parquet(path: Path, images: list[Any], labels: list[Any] | None, kind: Any = None, **options: Any) -> None:
    columns: dict[str, Any] = {"image": pa.array(images, kind)}
    if labels is not None:
        columns["label"] = labels if isinstance(labels, pa.Array) else pa.array(labels)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(options.pop("metadata", None)), path, **options)


def test_parquet_bytes_and_structs(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> None:
    (tmp_path / "more").mkdir()
    contents = [encode(picture) for picture in pictures(7)]
    write_parquet(tmp_path / "b.parquet", contents[:5], [3, 1, 3, 10, 2], row_group_size=2)
    write_parquet(tmp_path / "more" / "a.parquet", [{"bytes": content, "path": None} for content in contents[5:]], ["4", "x"])
    items = read(data_settings(source="parquet", path=str(tmp_path)))
    assert [item.content for item in items] == contents
    assert [item.label for item in items] == ["3", "1", "3", "10", "2", "4", "x"]
    assert items[4].name == "b.parquet#4" and items[5].name == "more/a.parquet#0"
    assert len(read(data_settings(source="parquet", path=str(tmp_path / "b.parquet")))) == 5
    for hidden in (".cache/a.parquet", "more/.cache/a.parquet", ".a.parquet"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"left by a download")
    assert len(read(data_settings(source="parquet", path=str(tmp_path)))) == 7


def test_parquet_class_names_of_hugging_face(tmp_path: Path, data_settings: Make) -> None:
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}}'
    write_parquet(tmp_path / "a.parquet", [b"1", b"2"], [1, 0], metadata={b"huggingface": info})
    assert [item.label for item in read(data_settings(source="parquet", path=str(tmp_path)))] == ["dog", "cat"]


def test_parquet_as_hugging_face_writes_it(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> None:
    """The schema of `datasets`: a struct of bytes and path, numbers of named classes, further columns; a shard a file."""
    names = b'{"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}'
    kind = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    contents = [encode(picture) for picture in pictures(6)]
    (tmp_path / "data").mkdir()
    for shard in range(2):
        part = range(3 * shard, 3 * shard + 3)
        columns: dict[str, Any] = {
            "image": pa.array([{"bytes": contents[n], "path": f"{n}.png"} for n in part], kind),
            "label": pa.array([n % 2 for n in part], pa.int64()),
            "caption": pa.array(["a picture"] * 3),
        }
        table = pa.table(columns).replace_schema_metadata({b"huggingface": b'{"info": {"features": %s}}' % names})
        pq.write_table(table, tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet")
    settings = data_settings(source="parquet", path=str(tmp_path / "data"), channels=3, holdout=0.0)
    assert [item.content for item in read(settings)] == contents
    assert [item.label for item in read(settings)] == ["cat", "dog"] * 3
    manifest = pack(settings, tmp_path / "packed", 1, progress=False)
    assert (manifest.count, manifest.classes, manifest.splits["train"].class_counts) == (6, ["cat", "dog"], [3, 3])
    write_parquet(tmp_path / "data" / "a.parquet", [{"bytes": None, "path": "elsewhere/0.png"}], [0], kind)
    assert str(read(settings)[0].content) == (
        "the row has no bytes, only the path 'elsewhere/0.png'; write the set again with its images embedded"
    )


def test_parquet_labels_that_are_not_known(tmp_path: Path, data_settings: Make) -> None:
    """-1 stands for that where the schema names the classes; without names it is a number like others."""
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    write_parquet(tmp_path / "a.parquet", [b"1", b"2"], [-1, 0], metadata={b"huggingface": info})
    write_parquet(tmp_path / "b.parquet", [b"1", b"2"], [-1, 0])
    items = read(data_settings(source="parquet", path=str(tmp_path)))
    assert [item.label for item in items] == [None, "cat", "-1", "0"]


@pytest.mark.parametrize(
    "info", [b"{", b"[]", b'"x"', b"\xff", b'{"info": 1}', *(b'{"info": {"features": {"label": %s}}}' % part for part in PARTS)]
)
def test_parquet_metadata_that_is_damaged(info: bytes, tmp_path: Path, data_settings: Make) -> None:
    write_parquet(tmp_path / "a.parquet", [b"1"], [0], metadata={b"huggingface": info})
    refused(data_settings(source="parquet", path=str(tmp_path)), "a.parquet", "`huggingface` metadata", "fetch it again")
    assert len(read(data_settings(source="parquet", path=str(tmp_path), labels=False))) == 1


def test_parquet_text_that_is_no_utf_8(tmp_path: Path, data_settings: Make) -> None:
    write_parquet(tmp_path / "a.parquet", [b"1"], ["label-x"], compression="none", use_dictionary=False)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"label-x", b"label-\xff"))
    refused(data_settings(source="parquet", path=str(tmp_path)), "a.parquet", "damaged", "fetch it again")


def test_parquet_rows_travel_in_small_chunks(tmp_path: Path, data_settings: Make) -> None:
    rng = np.random.default_rng(0)
    contents = [rng.bytes(3 * 2**20) for _ in range(8)] + [b"small"] * 40
    write_parquet(tmp_path / "a.parquet", contents, None, row_group_size=8)
    source = open_source(data_settings(source="parquet", path=str(tmp_path), labels=False), RECIPE)
    chunks = list(source.chunks(30, range(source.count)))
    assert [len(chunk) for chunk in chunks] == [5, 3, 8, 8, 8, 8, 8]
    assert [item.content for chunk in chunks for item in chunk] == contents


def test_parquet_follows_links_as_a_folder_does(tmp_path: Path, data_settings: Make) -> None:
    (tmp_path / "store").mkdir()
    write_parquet(tmp_path / "store" / "a.parquet", [b"1"], [0])
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "store")
    assert [item.name for item in read(data_settings(source="parquet", path=str(root)))] == ["linked/a.parquet#0"]
    (root / "gone.parquet").symlink_to(tmp_path / "nowhere")
    refused(data_settings(source="parquet", path=str(root)), "gone.parquet", "a link to nothing")


def test_parquet_dictionary_labels_and_missing_cells(tmp_path: Path, data_settings: Make) -> None:
    write_parquet(tmp_path / "a.parquet", [b"1", None], pa.array(["u", "v"]).dictionary_encode())
    items = read(data_settings(source="parquet", path=str(tmp_path)))
    assert [item.label for item in items] == ["u", "v"] and str(items[1].content) == "the row holds no image bytes"


def test_parquet_problems(tmp_path: Path, data_settings: Make) -> None:
    path = tmp_path / "a.parquet"
    settings = data_settings(source="parquet", path=str(tmp_path))
    refused(settings, "data.path", "no Parquet file")
    path.write_bytes(b"PAR1 and then nothing")
    refused(settings, "a.parquet", "not a Parquet file")
    write_parquet(path, [b"1"], None)
    refused(settings, "no column 'label'", "its columns are image", "labels: false")
    refused(data_settings(source="parquet", path=str(tmp_path), image_column="img"), "no column 'img'", "data.image_column")
    write_parquet(path, [1.5], [1])
    refused(settings, "'image' is double", "data.image_column")
    write_parquet(path, [b"1"], [0.5])
    refused(settings, "'label' is double", "data.label_column")
    write_parquet(path, [bytes(1000)] * 5, None, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[4:40] = b"\xff" * 36
    path.write_bytes(content)
    refused(data_settings(source="parquet", path=str(tmp_path), labels=False), "a.parquet", "damaged")
