"""WebDataset: tar files whose members belong to one sample where their names are equal up to the first dot of the last part.

Of a sample one member is the image, by its suffix. With labels its class is, of the first that is there: the text of `.cls`; the
value of `label_column` in `.json`; the text of `.txt`; the first folder of its name. Members of other suffixes are not read.
Headers are read when the source is opened and again when its chunks are made, so that what stays in memory does not grow.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from atelier.data.errors import DataError, Rejected
from atelier.data.sources.base import Item, Source, by_size, spread, too_large
from atelier.data.sources.folders import first_folder, split_of_files
from atelier.io.storage import Entry, LocalStorage, hidden

SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pgm", "ppm", "pbm", "pnm", "jp2", "avif")
LABELS = ("cls", "json", "txt")  # the first that a sample has
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASS_BYTES, JSON_BYTES = 256, 2**20  # longest class name, and largest description of a sample
END = bytes(tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Place:
    """Where a member lies in its tar: offset and size in bytes."""

    offset: int
    size: int


@dataclass
class Sample:
    """Members of one key that are read, by suffix; `others` are the suffixes of the rest."""

    tar: str
    key: str
    images: dict[str, Place] = field(default_factory=dict)
    labels: dict[str, Place] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @property
    def suffixes(self) -> str:
        return ", ".join(sorted([*self.images, *self.labels, *self.others]))


class WebDatasetSource(Source):
    """One tar, or every `*.tar` below a folder but hidden ones.

    Refuses whole, naming tar and member: compressed or truncated tars, links, devices, sparse members, names that lead out, keys
    or suffixes that occur twice, several images of one key.
    """

    kind = "webdataset"
    description = "WebDataset tars"

    def __init__(self, path: str, label_key: str | None, max_bytes: int, section: str) -> None:
        if path.startswith("s3://"):
            raise DataError(
                f"{section}.path {path!r}: tars are read by position, on this machine only; bring them (`dvc import-url {path}`, "
                f"`aws s3 sync`) and name their folder"
            )
        root = Path(path)
        self._label_key, self._max_bytes, self._section = label_key, max_bytes, section
        found = {root.name: root} if root.is_file() else {}
        if root.is_dir():
            found = {entry.name: root / entry.handle for entry in LocalStorage(root).entries()}
            found = {name: file for name, file in found.items() if name.endswith((".tar", *COMPRESSED))}
        if packed := next((file for name, file in found.items() if name.endswith(COMPRESSED)), None):
            raise DataError(f"{packed}: a compressed tar, which cannot be read by position; uncompress it")
        self._tars = dict(sorted(found.items()))
        if not self._tars:
            raise DataError(f"{section}.path {path!r}: no .tar file there; correct the path, or bring it with `dvc pull`")
        self._sizes = {name: file.stat().st_size for name, file in self._tars.items()}
        self._counts = {name: self._checked(name) for name in self._tars}
        self.count = sum(self._counts.values())
        self.facts = split_of_files(self._tars)
        if not self.count:
            raise DataError(f"{section}.path {path!r}: no samples in its tars; is it a WebDataset?")

    def listing(self) -> Iterator[tuple[str, int]]:
        return iter(self._sizes.items())

    def chunks(self, images: int, share: range) -> Iterator[list[Entry]]:
        return by_size(self._entries(share), images, self._max_bytes)

    def _entries(self, share: range) -> Iterator[Entry]:
        for name, rows in zip(self._tars, spread(share, self._counts.values()), strict=True):
            if rows:
                for sample in islice(_samples(name, self._tars[name]), rows.start, rows.stop):
                    size = next((place.size for place in sample.images.values()), 0)
                    yield Entry(f"{name}/{sample.key}", size, sample)

    def items(self, chunk: list[Entry]) -> Iterator[Item]:
        files: dict[str, int] = {}
        try:
            for entry in chunk:
                sample: Sample = entry.handle
                if sample.tar not in files:
                    files[sample.tar] = os.open(self._tars[sample.tar], os.O_RDONLY)
                yield self._item(entry.name, sample, files[sample.tar])
        except OSError as error:
            raise DataError(f"{self._section}.path: a tar cannot be read any more ({error}); check it, run again") from error
        finally:
            for file in files.values():
                os.close(file)

    def _item(self, name: str, sample: Sample, file: int) -> Item:
        label = self._label(sample, file) if self._label_key else None
        if not sample.images:
            return Item(name, Rejected(f"no image among its members ({sample.suffixes})"), label)
        (place,) = sample.images.values()
        return Item(name, too_large(place.size) if place.size > self._max_bytes else self._read(sample, file, place), label)

    def _read(self, sample: Sample, file: int, place: Place) -> bytes:
        content = os.pread(file, place.size, place.offset)
        if len(content) != place.size:
            raise DataError(f"{self._tars[sample.tar]}: changed while it was read; run again once nobody writes there")
        return content

    def _label(self, sample: Sample, file: int) -> str | None:
        suffix = next((suffix for suffix in LABELS if suffix in sample.labels), None)
        if suffix is None:
            return first_folder(sample.key)
        place, where = sample.labels[suffix], f"{self._tars[sample.tar]}: {sample.key}.{suffix}"
        if place.size > (JSON_BYTES if suffix == "json" else CLASS_BYTES):
            raise DataError(f"{where} has {place.size} bytes, which is no class name; set {self._section}.labels: false")
        content = self._read(sample, file, place)
        try:
            text = content.decode()
            found = json.loads(text) if suffix == "json" else text.strip()
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} cannot be read ({error}); mend it, or set {self._section}.labels: false") from error
        if suffix == "json":
            if not isinstance(found, dict) or self._label_key not in found:
                keys = ", ".join(found) if isinstance(found, dict) else "no object"
                raise DataError(
                    f"{where} has no key {self._label_key!r} (it has {keys}); set {self._section}.label_column, or labels: false"
                )
            found = found[self._label_key]
            if isinstance(found, bool) or not isinstance(found, int | str | None):
                raise DataError(f"{where}: {self._label_key!r} is no number or name; set {self._section}.label_column")
        return _class_name(found, where, self._section)

    def _checked(self, name: str) -> int:
        """How many samples a tar holds."""
        seen: set[str] = set()
        for sample in _samples(name, self._tars[name]):
            where = f"{self._tars[name]}: {sample.key!r}"
            if sample.key in seen:
                raise DataError(f"{where} occurs twice, with others between; write the members of a sample one after another")
            seen.add(sample.key)
            if len(sample.images) > 1:
                raise DataError(f"{where} holds several images ({', '.join(sample.images)}); leave one of them in the tars")
        return len(seen)


def _class_name(found: int | str | None, where: str, section: str) -> str | None:
    """The class; numbers lose their leading zeros, with which our own shards fill them up."""
    if found is None or found == "":
        return None
    text = str(found)
    if not text.isprintable():
        raise DataError(f"{where} holds several lines, which are no class name; set {section}.labels: false")
    return str(int(text)) if text.isascii() and text.isdigit() else text


def _samples(name: str, path: Path) -> Iterator[Sample]:
    """The samples of a tar in order. Raises DataError for one that is damaged, truncated or hostile."""
    sample: Sample | None = None
    for member in _members(path):
        parts = [part for part in PurePosixPath(member.name).parts if part != "."]
        if member.name.startswith("/") or ".." in parts:
            raise _refused(path, member, "a name that leads out of the archive")
        if member.isdir() or hidden("/".join(parts)):
            continue
        if not member.isreg() or member.issparse():
            kind = "a link" if member.issym() or member.islnk() else "sparse" if member.issparse() else "no plain file"
            raise _refused(path, member, kind)
        stem, dot, suffix = parts[-1].partition(".")
        if not dot:
            continue
        key, suffix = "/".join([*parts[:-1], stem]), suffix.lower()
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(name, key)
        last = suffix.rpartition(".")[2]
        group = sample.images if last in SUFFIXES else sample.labels if suffix in LABELS else None
        if suffix in (sample.others if group is None else group):
            raise _refused(path, member, f"the second of key {key!r} with the suffix {suffix!r}")
        if group is None:
            sample.others.add(suffix)
        else:
            group[suffix] = Place(member.offset_data, member.size)
    if sample is not None:
        yield sample


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar up to its end, which has to be there."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: no plain file; name tars, or a folder of them")
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:", errorlevel=2) as tar:
            while (member := tar.next()) is not None:
                if member.offset_data + member.size > status.st_size:
                    raise _ends_early(path, member)
                yield member
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            if os.pread(file.fileno(), len(END), tar.offset) != END:  # type: ignore[attr-defined]
                raise DataError(f"{path}: damaged or truncated at byte {tar.offset}; fetch it again")  # type: ignore[attr-defined]
    except (tarfile.TarError, OSError, ValueError, EOFError, RecursionError) as error:
        raise DataError(f"{path}: not a tar that can be read ({' '.join(str(error).split())}); fetch it again") from error


def _ends_early(path: Path, member: tarfile.TarInfo) -> DataError:
    return DataError(f"{path}: truncated within its member {member.name!r}; fetch it again")


def _refused(path: Path, member: tarfile.TarInfo, problem: str) -> DataError:
    return DataError(f"{path}: refused, its member {member.name!r} is {problem}; write the tar again with plain files")
