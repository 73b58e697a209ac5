"""WebDataset tars: samples by key, labels where they are written, our own shards; what is hostile or damaged is refused."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from atelier.data.errors import DataError, Rejected
from atelier.data.pack import pack
from atelier.data.sources import open_source
from tests.support.reading import RECIPE, Encode, Make, Pictures, read, refused

Member = tuple[str, bytes] | tarfile.TarInfo


def write_tar(path: Path, members: Iterable[Member], **options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_samples_are_grouped_by_key(tmp_path: Path, data_settings: Make, format: int) -> None:
    long = "very-long-name-" * 10
    b = [("./x.PNG", b"1"), ("./x.cls", b" 7\n"), ("./y.json", json.dumps({"label": "dog", "n": 1}).encode()), ("./y.jpeg", b"2")]
    a = [("0.webp", b"3"), ("0.txt", "été".encode()), ("cat/1.2.jpg", b"4"), ("README", b"no suffix"), ("._0.webp", b"macOS")]
    if format != tarfile.USTAR_FORMAT:
        a.append((f"{long}.jpg", b"5"))
    write_tar(tmp_path / "b.tar", [special("d", tarfile.DIRTYPE), *b], format=format)
    write_tar(tmp_path / "in" / "a.tar", a, format=format)
    (tmp_path / "in" / "a_stats.json").write_text("{}")
    items = read(data_settings(source="webdataset", path=str(tmp_path)))
    found = [(item.name, item.content, item.label) for item in items]
    assert found[:4] == [
        ("b.tar/x", b"1", "7"),
        ("b.tar/y", b"2", "dog"),
        ("in/a.tar/0", b"3", "été"),
        ("in/a.tar/cat/1", b"4", "cat"),
    ]
    assert found[4:] == ([] if format == tarfile.USTAR_FORMAT else [(f"in/a.tar/{long}", b"5", None)])
    alone = read(data_settings(source="webdataset", path=str(tmp_path / "b.tar")))
    assert [item.name for item in alone] == ["b.tar/x", "b.tar/y"]
    assert {item.label for item in read(data_settings(source="webdataset", path=str(tmp_path), labels=False))} == {None}


def test_the_first_label_of_a_sample_counts(tmp_path: Path, data_settings: Make) -> None:
    more = [("cat/1.txt", b"t"), ("cat/1.json", b'{"label": 3, "class": "k"}'), ("cat/1.jpg", b"1"), ("cat/1.cls", b"c")]
    settings = data_settings(source="webdataset", path=str(write_tar(tmp_path / "a.tar", more)))
    assert [item.label for item in read(settings)] == ["c"]
    write_tar(tmp_path / "a.tar", more[:3])
    assert [item.label for item in read(settings)] == ["3"]
    by_class = settings.model_copy(update={"label_column": "class"})
    assert [item.label for item in read(by_class)] == ["k"]
    refused(
        settings.model_copy(update={"label_column": "kind"}), "cat/1.json", "no key 'kind' (it has label, class)", "label_column"
    )
    for value in (b"null", b'""'):
        write_tar(tmp_path / "a.tar", [("1.json", b'{"label": %s}' % value), ("1.jpg", b"1")])
        assert [item.label for item in read(settings)] == [None]


def test_our_own_shards_come_back(tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures, raw: Path) -> None:
    """The same images in the same order; classes are their numbers there, in which leading zeros mean nothing."""
    first = pack(data_settings(source="folder", path=str(raw), channels=3), tmp_path / "one", 1, progress=False)
    second = pack(data_settings(source="webdataset", path=str(tmp_path / "one"), channels=3), tmp_path / "two", 1, progress=False)
    assert [shard.sha256 for shard in second.shards] == [shard.sha256 for shard in first.shards]
    assert (first.classes, second.classes) == (["a", "b", "c"], ["0", "1", "2"]) and second.splits == first.splits
    write_tar(tmp_path / "digits.tar", [("1.cls", b"007"), ("1.jpg", b"1")])
    assert read(data_settings(source="webdataset", path=str(tmp_path / "digits.tar")))[0].label == "7"


def test_single_samples_are_rejected_by_name(tmp_path: Path, data_settings: Make) -> None:
    limit = RECIPE.max_bytes
    write_tar(
        tmp_path / "a.tar", [("1.json", b'{"label": 1}'), ("1.npy", b""), ("2.jpg", bytes(limit + 1)), ("3.jpg", bytes(limit))]
    )
    items = read(data_settings(source="webdataset", path=str(tmp_path / "a.tar")))
    assert [str(item.content) for item in items[:2]] == [
        "no image among its members (json, npy)",
        f"file of {limit + 1} bytes, more than any image of max_pixels needs",
    ]
    assert isinstance(items[0].content, Rejected) and items[0].label == "1" and items[2].content == bytes(limit)


def sparse() -> tarfile.TarInfo:
    return special("1.jpg", tarfile.GNUTYPE_SPARSE)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([special("1.jpg", tarfile.SYMTYPE, "/etc/passwd")], "'1.jpg' is a link"),
        ([("0.jpg", b"1"), special("1.jpg", tarfile.LNKTYPE, "0.jpg")], "'1.jpg' is a link"),
        ([special("1.jpg", tarfile.CHRTYPE)], "'1.jpg' is no plain file"),
        ([special("1.jpg", tarfile.FIFOTYPE)], "'1.jpg' is no plain file"),
        ([sparse()], "'1.jpg' is sparse"),
        ([("/1.jpg", b"1")], "a name that leads out"),
        ([("a/../../1.jpg", b"1")], "a name that leads out"),
        ([("1.jpg", b"1"), ("1.JPG", b"2")], "the second of key '1' with the suffix 'jpg'"),
        ([("1.jpg", b"1"), ("2.jpg", b"2"), ("1.cls", b"2")], "'1' occurs twice"),
        ([("1.jpg", b"1"), ("1.mask.png", b"2")], "'1' holds several images (jpg, mask.png)"),
        ([("1.jpg", b"1"), ("1.txt", b"a caption\nof two lines")], "1.txt holds several lines, which are no class name"),
        ([("1.jpg", b"1"), ("1.txt", b"long" * 100)], "1.txt has 400 bytes, which is no class name; set data.labels: false"),
        ([("1.jpg", b"1"), ("1.cls", b"\xff")], "1.cls cannot be read"),
        ([("1.jpg", b"1"), ("1.json", b"{")], "1.json cannot be read"),
        ([("1.jpg", b"1"), ("1.json", b"[" * 5000)], "1.json cannot be read"),
        ([("1.jpg", b"1"), ("1.json", b"[1]")], "no key 'label' (it has no object)"),
        ([("1.jpg", b"1"), ("1.json", b'{"label": [1]}')], "'label' is no number or name"),
        ([("README", b"1")], "no samples in its tars"),
    ],
)
def test_what_is_hostile_or_unclear_is_refused(members: list[Member], message: str, tmp_path: Path, data_settings: Make) -> None:
    write_tar(tmp_path / "a.tar", members)
    refused(data_settings(source="webdataset", path=str(tmp_path)), "a.tar" if "samples" not in message else "data.path", message)


def test_damaged_tars(tmp_path: Path, data_settings: Make) -> None:
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"1" * 600), ("2.jpg", b"2" * 600)], format=tarfile.USTAR_FORMAT)
    whole, settings = path.read_bytes(), data_settings(source="webdataset", path=str(path))
    for end, message in (
        (300, "not a tar"),
        (512 + 300, "truncated within its member '1.jpg'"),
        (3 * 512, "truncated at byte 1536"),
        (3 * 512 + 100, "truncated at byte 1536"),
        (4 * 512 + 100, "truncated within its member '2.jpg'"),
        (6 * 512, "truncated at byte 3072"),
    ):
        path.write_bytes(whole[:end])
        refused(settings, "a.tar", message, "fetch it again")
    path.write_bytes(whole[: 6 * 512 + 1024])
    assert len(read(settings)) == 2, "two blocks of zeros are an end"
    path.write_bytes(whole[:1536] + b"x" + whole[1537:])
    refused(settings, "a.tar", "damaged or truncated at byte 1536")
    for content in (b"", b"\x1f\x8b" + bytes(600), b"x" * 2000):
        path.write_bytes(content)
        refused(settings, "a.tar", "not a tar that can be read")


def test_headers_that_lie(tmp_path: Path, data_settings: Make) -> None:
    """A negative size, names within names within names: no endless loop, no traceback."""
    info = tarfile.TarInfo("1.jpg")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (2**96 - 512).to_bytes(12, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    refused(data_settings(source="webdataset", path=str(path)), "a.tar")
    long = special("x", tarfile.GNUTYPE_LONGNAME)
    path.write_bytes(long.tobuf(tarfile.GNU_FORMAT) * 3000 + bytes(1024))
    refused(data_settings(source="webdataset", path=str(path)), "a.tar")


def test_what_is_no_folder_of_tars(tmp_path: Path, data_settings: Make) -> None:
    refused(data_settings(source="webdataset", path=str(tmp_path)), "data.path", "no .tar file")
    refused(data_settings(source="webdataset", path=str(tmp_path / "x")), "data.path", "no .tar file")
    refused(data_settings(source="webdataset", path="s3://bucket/x"), "s3://bucket/x", "dvc import-url")
    (tmp_path / "a.tar.gz").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.tar.gz"):
        refused(data_settings(source="webdataset", path=str(path)), "a.tar.gz", "compressed")


def test_a_share_reads_its_tars_only(tmp_path: Path, data_settings: Make) -> None:
    for name in "abc":
        write_tar(tmp_path / f"{name}.tar", [(f"{number}.jpg", b"%d" % number) for number in range(3)])
    source = open_source(data_settings(source="webdataset", path=str(tmp_path), labels=False), RECIPE)
    (tmp_path / "a.tar").unlink()
    (tmp_path / "c.tar").write_bytes(b"")
    items = [item.name for chunk in source.chunks(2, range(3, 6)) for item in source.items(chunk)]
    assert items == ["b.tar/0", "b.tar/1", "b.tar/2"]
    (chunk,) = source.chunks(9, range(4, 5))
    (tmp_path / "b.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.tar: changed while it was read"):
        list(source.items(chunk))
