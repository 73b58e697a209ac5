"""LMDB with an encoded image a record, in the two layouts that are in wide use; nothing else is read, pickles least of all.

One record an image (LSUN, BasicSR): the key is any name, the value an image file. BasicSR's meta_info.txt is not needed.
Several sizes of an image (as StyleGAN2's PyTorch ports prepare them): keys `256-00000`, and `length` with the number of images.
Of the sizes the smallest that is at least `resolution` is read, or the largest.

The path is a database (a folder with data.mdb, or its file), without labels; or a folder of such folders, each of them a class
that is named by what is left of `bedroom_train_lmdb`: `bedroom`.
"""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from PIL import Image

from atelier.data.errors import DataError
from atelier.data.process import FORMATS
from atelier.data.sources.base import Item, Source, by_size, spread, too_large
from atelier.io.storage import Entry

DATA = "data.mdb"
SIZED = re.compile(rb"([1-9][0-9]{0,4})-[0-9]{5,}")
SET = re.compile(r"(?:_(?:train|val|test))?(?:_lmdb|\.lmdb)?$")  # what follows a class in LSUN's names
TRIED = 16  # records of which one has to be an image


class LmdbSource(Source):
    """Raises DataError where the path is no such database, or one of other layout, damaged or empty."""

    kind = "lmdb"
    description = "LMDB of image files"

    def __init__(self, path: str, resolution: int, max_bytes: int, section: str) -> None:
        self._max_bytes, self._key = max_bytes, f"{section}.path {path!r}"
        root = Path(path)
        if root.is_file() or (root / DATA).is_file():
            self._databases = {"": root}
        elif root.is_dir():
            found = sorted(child for child in root.iterdir() if (child / DATA).is_file() and not child.name.startswith("."))
            self._databases = {child.name: child for child in found}
        else:
            raise DataError(f"{self._key}: no such database; correct the path, or bring it with `dvc pull`")
        if not self._databases:
            raise DataError(f"{self._key}: neither {DATA} nor folders that have one; name the folder of an LMDB, or of several")
        self._prefixes = {name: _prefix(place, resolution) for name, place in self._databases.items()}
        self._counts = {name: _count(place, self._prefixes[name]) for name, place in self._databases.items()}
        self.count = sum(self._counts.values())

    def listing(self) -> Iterator[tuple[str, int]]:
        return iter(self._counts.items())

    def chunks(self, images: int, share: range) -> Iterator[list[Entry]]:
        return by_size(self._entries(share), images, self._max_bytes)

    def _entries(self, share: range) -> Iterator[Entry]:
        for (name, place), rows in zip(self._databases.items(), spread(share, self._counts.values()), strict=True):
            if rows:
                for key, size in islice(Opened.of(place).records(self._prefixes[name]), rows.start, rows.stop):
                    shown = os.fsdecode(key)
                    yield Entry(f"{name}/{shown}" if name else shown, size, (name, key))

    def items(self, chunk: list[Entry]) -> Iterator[Item]:
        opened: dict[str, Opened] = {}
        for entry in chunk:
            name, key = entry.handle
            if name not in opened:
                opened[name] = Opened.of(self._databases[name])
            label = unicodedata.normalize("NFC", SET.sub("", name)) if name else None
            if entry.size > self._max_bytes:
                yield Item(entry.name, too_large(entry.size), label)
            else:
                yield Item(entry.name, opened[name].get(key), label)


class Opened:
    """A database that this process has open; LMDB allows that once, so all who read it share it."""

    _all: ClassVar[WeakValueDictionary[str, Opened]] = WeakValueDictionary()

    def __init__(self, place: Path) -> None:
        import lmdb

        self.place = place
        file = place / DATA if place.is_dir() else place
        try:
            # Without a lock: images are read from disks that cannot be written, and nobody writes to a set.
            self._environment: Any = lmdb.open(
                str(place), subdir=place.is_dir(), readonly=True, lock=False, readahead=False, create=False
            )
            pages = self._environment.info()["last_pgno"] + 1
            size, needed = file.stat().st_size, pages * self._environment.stat()["psize"]
        except (lmdb.Error, OSError) as error:
            raise DataError(f"{place}: not an LMDB that can be read ({error}); fetch it again") from error
        if size < needed:  # beyond the end of the file a read would kill the process
            raise DataError(f"{place}: truncated, {size} bytes of {needed}; fetch it again")

    @classmethod
    def of(cls, place: Path) -> Opened:
        """The database there, which stays open as long as somebody holds it."""
        status = (place / DATA if place.is_dir() else place).stat()
        key = f"{status.st_dev}:{status.st_ino}"
        found = cls._all.get(key)
        if found is None:
            found = cls._all[key] = cls(place)
        return found

    def __del__(self) -> None:
        if environment := getattr(self, "_environment", None):
            environment.close()

    @property
    def entries(self) -> int:
        return self._environment.stat()["entries"]

    def get(self, key: bytes) -> bytes:
        """The value of a key. Raises DataError where there is none."""
        value = self._reading(lambda transaction: transaction.get(key))
        if value is None:
            raise DataError(f"{self.place}: its record {os.fsdecode(key)!r} is gone; run again once nobody writes there")
        return value

    def first(self, key: bytes = b"") -> bytes | None:
        """The first key that is at least this one."""

        def found(transaction: Any) -> bytes | None:
            cursor = transaction.cursor()
            return bytes(cursor.key()) if (cursor.set_range(key) if key else cursor.first()) else None

        return self._reading(found)

    def records(self, prefix: bytes) -> Iterator[tuple[bytes, int]]:
        """Key and size of each record whose key begins so, in the order of the keys. Values are not read."""
        import lmdb

        try:
            with self._environment.begin(buffers=True) as transaction:
                cursor = transaction.cursor()
                found = cursor.set_range(prefix) if prefix else cursor.first()
                while found and (key := bytes(cursor.key())).startswith(prefix):
                    yield key, len(cursor.value())
                    found = cursor.next()
        except lmdb.Error as error:
            raise self._damaged(error) from error

    def _reading(self, work: Any) -> Any:
        import lmdb

        try:
            with self._environment.begin() as transaction:
                return work(transaction)
        except lmdb.Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.place}: damaged ({error}); fetch it again")


def _prefix(place: Path, resolution: int) -> bytes:
    """What the keys of the images begin with; b"" where each record is one."""
    database = Opened.of(place)
    if not database.entries:
        raise DataError(f"{place}: an empty database; fetch it again")
    sides, key = [], database.first()
    while key is not None and (sized := SIZED.fullmatch(key)):
        sides.append(int(sized[1]))
        key = database.first(b"%d." % sides[-1])  # "." follows "-"
    if sides and key == b"length":
        side = min((side for side in sides if side >= resolution), default=max(sides))
        return b"%d-" % side
    tried = [key for key, _ in islice(database.records(b""), TRIED)]
    if not any(_is_image(database.get(key)) for key in tried):
        raise DataError(
            f"{place}: of its first {len(tried)} records ({', '.join(map(repr, tried[:3]))}, ...) none is an image file but "
            f"{_told(database.get(tried[0]))}; only image files are read, a record each, or several sizes with keys such as "
            "256-00000 and length: convert it"
        )
    return b""


def _count(place: Path, prefix: bytes) -> int:
    database = Opened.of(place)
    if not prefix:
        return database.entries
    count, said = sum(1 for _ in database.records(prefix)), database.get(b"length")
    if said != b"%d" % count:
        raise DataError(
            f"{place}: {count} records of {os.fsdecode(prefix[:-1])} px, but its record 'length' says {said[:20]!r}; "
            "its preparation was interrupted: make it again"
        )
    return count


def _is_image(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # Pillow raises almost any kind on other bytes
        return False
    return True


def _told(content: bytes) -> str:
    """What a value seems to be."""
    if content[:1] == b"\x80" and content.endswith(b"."):
        return "a pickle, which could run code"
    return f"{len(content)} bytes that begin with {content[:8]!r}"
