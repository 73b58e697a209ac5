"""LMDB: image files as records, in the two layouts that are read; pickles and other layouts are refused with what was found."""

from __future__ import annotations

import pickle
from pathlib import Path

import lmdb
import pytest

from atelier.data.pack import pack
from tests.support.reading import RECIPE, Encode, Make, Pictures, read, refused


def write_lmdb(path: Path, records: dict[bytes, bytes], subdir: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(path), map_size=2**24, subdir=subdir) as environment, environment.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    return path


@pytest.fixture
def records(encode: Encode, pictures: Pictures) -> dict[bytes, bytes]:
    """As LSUN has them: keys are hashes, values WebP or JPEG."""
    return {b"%02x9ab" % (7 * n): encode(image, ("WEBP", "JPEG")[n % 2]) for n, image in enumerate(pictures(12))}


def test_a_record_is_an_image(tmp_path: Path, data_settings: Make, records: dict[bytes, bytes]) -> None:
    place = write_lmdb(tmp_path / "set.lmdb", records)
    (place / "meta_info.txt").write_text("0001.png (40,40,3) 1\n")  # BasicSR's
    items = read(data_settings(source="lmdb", path=str(place)))
    assert [(item.name.encode(), item.content) for item in items] == sorted(records.items())
    assert {item.label for item in items} == {None}
    alone = write_lmdb(tmp_path / "one.mdb", records, subdir=False)
    assert len(read(data_settings(source="lmdb", path=str(alone)))) == 12


def test_several_databases_are_classes(tmp_path: Path, data_settings: Make, records: dict[bytes, bytes]) -> None:
    for name in ("church_outdoor_train_lmdb", "bedroom_train_lmdb", "bedroom_val_lmdb"):
        write_lmdb(tmp_path / "lsun" / name, dict(list(records.items())[: len(name) - 14]))
    (tmp_path / "lsun" / "notes").mkdir()
    items = read(data_settings(source="lmdb", path=str(tmp_path / "lsun")))
    assert [item.label for item in items] == ["bedroom"] * (4 + 2) + ["church_outdoor"] * 11
    assert items[0].name.startswith("bedroom_train_lmdb/")


def test_several_sizes_of_an_image(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures) -> None:
    """The smallest that is large enough; none is scaled up where a larger one is there."""
    sizes = {side: [encode(image) for image in pictures(3, shape=(side, side, 3))] for side in (16, 64, 128)}
    sized = {f"{side}-{n:05d}".encode(): content for side, images in sizes.items() for n, content in enumerate(images)}
    path = write_lmdb(tmp_path / "prepared", {**sized, b"length": b"3"})
    settings = data_settings(source="lmdb", path=str(path), labels=False, channels=3, holdout=0.0)
    assert [item.name for item in read(settings)] == ["64-00000", "64-00001", "64-00002"]  # RECIPE is of 28 px
    for resolution, side in ((32, 64), (64, 64), (128, 128), (256, 128)):
        larger = settings.model_copy(update={"resolution": resolution})
        manifest = pack(larger, tmp_path / str(resolution), 1, progress=False)
        assert manifest.count == 3
        assert (
            manifest.content_hash
            == pack(
                larger.model_copy(update={"source": "folder", "path": str(folder(tmp_path / f"f{resolution}", sizes[side]))}),
                tmp_path / f"again-{resolution}",
                1,
                progress=False,
            ).content_hash
        )
    write_lmdb(path, {b"length": b"4"})
    refused(settings, "prepared", "3 records of 64 px", "'length' says b'4'")


def folder(path: Path, contents: list[bytes]) -> Path:
    path.mkdir()
    for number, content in enumerate(contents):
        (path / f"{number}.png").write_bytes(content)
    return path


def test_what_is_no_image_is_refused_or_rejected(tmp_path: Path, data_settings: Make, records: dict[bytes, bytes]) -> None:
    hostile = write_lmdb(tmp_path / "a", {b"0": pickle.dumps({"image": b"x"}), b"__keys__": pickle.dumps([b"0"])})
    refused(
        data_settings(source="lmdb", path=str(hostile)), "first 2 records", "b'0'", "a pickle, which could run code", "convert it"
    )
    datum = write_lmdb(tmp_path / "b", {b"%05d" % n: b"\x08\x03\x10\x20\x18\x20" for n in range(40)})
    refused(data_settings(source="lmdb", path=str(datum)), "first 16 records", "6 bytes that begin with b'\\x08\\x03\\x10")
    write_lmdb(tmp_path / "c", records | {b"00": b"broken", b"zz": bytes(RECIPE.max_bytes + 1)})
    items = read(data_settings(source="lmdb", path=str(tmp_path / "c")))
    assert items[0].content == b"broken", "processing rejects it by name"
    assert str(items[-1].content) == f"file of {RECIPE.max_bytes + 1} bytes, more than any image of max_pixels needs"


def test_what_is_no_database(tmp_path: Path, data_settings: Make, records: dict[bytes, bytes]) -> None:
    refused(data_settings(source="lmdb", path=str(tmp_path / "x")), "data.path", "no such database")
    refused(data_settings(source="lmdb", path=str(tmp_path)), "data.path", "neither data.mdb nor folders")
    refused(data_settings(source="lmdb", path=str(write_lmdb(tmp_path / "empty", {}))), "empty database")
    place = write_lmdb(tmp_path / "cut", records)
    content = (place / "data.mdb").read_bytes()
    for end, message in ((3 * 4096, "truncated, 12288 bytes of"), (100, "not an LMDB"), (0, "not an LMDB")):
        (place / "data.mdb").unlink()
        (place / "data.mdb").write_bytes(content[:end])
        refused(data_settings(source="lmdb", path=str(place)), "cut", message, "fetch it again")
    (place / "data.mdb").write_bytes(b"SQLite format 3\0" * 1000)
    refused(data_settings(source="lmdb", path=str(place)), "cut", "not an LMDB")


def test_a_set_that_cannot_be_written_is_read(tmp_path: Path, data_settings: Make, records: dict[bytes, bytes]) -> None:
    """No lock file is made, and none is needed."""
    place = write_lmdb(tmp_path / "set", records)
    (place / "lock.mdb").unlink()
    assert len(read(data_settings(source="lmdb", path=str(place)))) == 12
    assert [file.name for file in place.iterdir()] == ["data.mdb"]
