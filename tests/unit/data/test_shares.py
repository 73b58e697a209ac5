"""A share of a source: the shares of every division are the whole, and none reads what is outside of it."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.parts import share_of
from atelier.data.sources import open_source
from atelier.data.sources.base import Item, Source, spread
from tests.support.reading import RECIPE, Make, Pictures, array, read_share, write_idx

KINDS = ("folder", "zip", "idx", "parquet", "webdataset", "lmdb", "torchvision:MNIST", "digits-1797", "mnist-5k")


def plain(items: list[Item]) -> list[tuple[str, str | None, bytes]]:
    return [(item.name, item.label, item.content if isinstance(item.content, bytes) else array(item).tobytes()) for item in items]


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_of_every_division_are_the_whole(kind: str, opened: Any) -> None:
    source = open_source(opened(kind), RECIPE)
    whole = plain(read_share(source, range(source.count), 4))
    assert len(whole) == source.count
    for parts in (1, 2, 3, 7, source.count + 3):
        shares = [share_of(source, part, parts) for part in range(1, parts + 1)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        if parts > source.count:
            empty = next(share for share in shares if not share)
            assert not list(source.chunks(4, empty))
        read = [plain(read_share(source, share, 4)) for share in shares]
        assert [len(items) for items in read] == [len(share) for share in shares]
        assert [item for items in read for item in items] == whole


def test_shares_of_files_one_after_the_other() -> None:
    assert list(spread(range(3, 9), [4, 0, 4, 5])) == [range(3, 4), range(0, 0), range(0, 4), range(0, 1)]
    assert [len(rows) for rows in spread(range(9, 9), [4, 5, 1])] == [0, 0, 0]


@pytest.mark.parametrize(("part", "parts"), [(0, 3), (4, 3), (1, 0), (-1, -1)])
def test_a_part_that_does_not_exist(part: int, parts: int, opened: Any) -> None:
    with pytest.raises(DataError, match=f"part {part} of {parts}: there is no such part; choose part I of N with 1 <= I <= N"):
        share_of(open_source(opened("digits-1797"), RECIPE), part, parts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_is_of_what_is_listed(kind: str, opened: Any) -> None:
    settings = opened(kind)
    before = open_source(settings, RECIPE)
    assert before.fingerprint() == open_source(settings, RECIPE).fingerprint() and list(before.listing())
    path = Path(settings.path)
    if kind == "folder":
        (path / "a" / "0.png").rename(path / "a" / "0000.png")
    elif kind == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("d/x.png", b"x")
    elif kind == "idx":
        (path / "train-images-idx3-ubyte.gz").unlink()
    elif kind in ("webdataset", "lmdb"):
        (path / "b.tar" if kind == "webdataset" else path / "b").rename(path / "bb.tar")
    elif kind == "parquet":
        (path / "b.parquet").rename(path / "bb.parquet")
    else:
        return
    assert open_source(settings, RECIPE).fingerprint() != before.fingerprint()


def thirds(settings: DataSettings) -> tuple[Source, list[range]]:
    source = open_source(settings, RECIPE)
    return source, [share_of(source, part, 3) for part in (1, 2, 3)]


def test_a_share_of_a_tree_names_its_files_only(opened: Any) -> None:
    source, shares = thirds(opened("folder"))
    chunks = list(source.chunks(4, shares[1]))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2] and {entry.name[0] for chunk in chunks for entry in chunk} == {"b"}


def test_a_share_of_idx_files_reads_its_rows_only(tmp_path: Path, data_settings: Make, pictures: Pictures) -> None:
    """What is wrong with the end of a file is seen by the part that reads it, gzipped or not."""
    images = tmp_path / "idx" / "images-idx3-ubyte"
    images.parent.mkdir()
    write_idx(images, np.stack(pictures(9, shape=(28, 28))))
    settings = data_settings(source="idx", path=str(images.parent), labels=False)
    content = images.read_bytes()
    for damaged, message in ((content + b"x", "goes on after the 9 images"), (content[:-1], "ends too early")):
        images.write_bytes(damaged)
        source, shares = thirds(settings)
        assert [len(read_share(source, share)) for share in shares[:2]] == [3, 3]
        with pytest.raises(DataError, match=message):
            read_share(source, shares[2])
    images.unlink()
    packed = gzip.compress(content, compresslevel=0)
    for end, intact in ((len(packed) * 5 // 9, 1), (len(packed) - 4, 2)):
        images.with_suffix(".gz").write_bytes(packed[:end])
        source, shares = thirds(settings)
        assert all(len(read_share(source, share)) == 3 for share in shares[:intact])
        for share in shares[intact:]:
            with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz: damaged gzip.*fetch it again"):
                read_share(source, share)


def test_a_share_of_parquet_reads_its_row_groups_only(tmp_path: Path, data_settings: Make) -> None:
    contents = [bytes([number]) * 1000 for number in range(9)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": contents}), path, row_group_size=3, compression="none", use_dictionary=False)
    groups = pq.ParquetFile(path).metadata
    damaged = bytearray(path.read_bytes())
    start = groups.row_group(1).column(0).data_page_offset
    damaged[start : start + 40] = b"\xff" * 40
    path.write_bytes(damaged)
    source, shares = thirds(data_settings(source="parquet", path=str(path), labels=False))
    assert [item.content for part in (0, 2) for item in read_share(source, shares[part])] == contents[:3] + contents[6:]
    with pytest.raises(DataError, match=r"a\.parquet: damaged"):
        read_share(source, shares[1])


def test_a_share_of_torchvision_reads_its_images_only(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    source, shares = thirds(opened("torchvision:MNIST"))
    taken: list[int] = []
    before = MNIST.__getitem__

    def noted(self: MNIST, index: int) -> tuple[Any, Any]:
        taken.append(index)
        return before(self, index)

    monkeypatch.setattr(MNIST, "__getitem__", noted)
    assert [item.name for item in read_share(source, shares[2])] == ["0#8", "1#0", "1#1", "1#2", "1#3"]
    assert taken == [8, 0, 1, 2, 3]
