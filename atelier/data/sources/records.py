"""Trees in which records have several files: a folder for each field, or what is said of a picture beside it.

    lines/cat/1.png + colour/cat/1.jpg     one record, cat/1, of the fields that come from lines and colour
    cat/1.png + cat/1.txt + cat/1.wav      one record, cat/1, of three fields that come from . (all folders)

The folder of a field may lie anywhere above its files (lines/train/1.png as well as train/lines/1.png). What is left of a name
without it means what names mean in a tree of images: folders around everything, a given split, classes.

A text file holds a caption a line. 1.anna.wav is a further recording of 1, and 1.more.txt further captions, in the order of their
names. Captions may also stand in a file of rows: see captions.py.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atelier.data.errors import DataError, Rejected
from atelier.data.process import Content, RecordField
from atelier.data.sources import captions
from atelier.data.sources.base import Item, by_size, too_large
from atelier.data.sources.folders import is_image
from atelier.data.sources.tree import Tree
from atelier.io.storage import Damaged, Entry

NAMED = 8  # folders that a message names
EVERYWHERE = "."  # a field's place: all folders
SUFFIXES = {"text": ".txt", "sound": ".wav"}


@dataclass(slots=True)
class Files:
    """The files of one record by field, and captions out of a file of rows; `problem` says why they are none."""

    name: str
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    captions: dict[str, list[str]] = field(default_factory=dict)
    problem: str = ""

    @property
    def all(self) -> list[Entry]:
        return [entry for several in self.entries.values() for entry in several]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.all)


class RecordSource(Tree):
    """The records of a tree. Files in no field's folder are not read, which the manifest says."""

    def __init__(self, kind: str, path: str, max_bytes: int, section: str, split: str, fields: Sequence[RecordField]) -> None:
        self._fields = {one.name: one for one in fields}
        self._folders_of = {
            one.name: [] if one.place == EVERYWHERE else _composed(one.place).strip("/").split("/") for one in fields
        }
        self._where, self._section = f"{section}.path {path!r}", section
        super().__init__(kind, path, max_bytes, section, split)
        if self._unread:
            self.facts = {**self.facts, "not_read": f"{len(self._unread)}, first {self._unread[0]}"}

    def _arrange(self, entries: list[Entry]) -> list[str]:
        records: dict[str, Files] = {}
        said: list[tuple[str, str, Entry]] = []
        of_rows: list[tuple[str, Entry]] = []
        self._unread: list[str] = []
        for entry in entries:
            if name := self._holds_rows(entry.name):
                of_rows.append((name, entry))
                continue
            name, rest = self._placed(entry.name)
            if not name:
                self._unread.append(entry.name)
            elif self._fields[name].annotated:
                said.append((name, rest, entry))
            else:
                record = records.setdefault(_key(rest), Files(rest))
                if there := record.entries.get(name):
                    record.problem = f"{there[0].name} and {entry.name} are both its {self._called(name)}; remove one"
                record.entries.setdefault(name, [entry])
        pictured = dict(records)
        for name, rest, entry in said:
            key = rest[: -len(SUFFIXES[self._fields[name].kind])]
            owner = key if key in pictured else key.rpartition(".")[0]
            record = pictured[owner] if owner in pictured else records.setdefault(key, Files(rest))
            record.entries.setdefault(name, []).append(entry)
        self._rows = [entry for _, entry in of_rows]
        self._take_captions(of_rows, pictured)
        self._records = list(records.values())
        self._check_places([entry.name for entry in entries])
        for record in self._records:
            record.problem = record.problem or self._lacks(record)
        return [record.name for record in self._records]

    def _holds_rows(self, name: str) -> str:
        """The field whose captions stand in this file, "" for none."""
        parts = _composed(name).split("/")
        of_rows = (key for key, one in self._fields.items() if one.annotated and captions.is_rows(one.place))
        return next((key for key in of_rows if parts[-len(self._folders_of[key]) :] == self._folders_of[key]), "")

    def _take_captions(self, files: Iterable[tuple[str, Entry]], pictured: Mapping[str, Files]) -> None:
        """Gives the pictures their captions. Raises DataError for a row of no picture."""
        for name, entry in files:
            (content,) = self.storage.read([entry])
            if isinstance(content, Damaged):
                raise DataError(f"{self._where}: {entry.name}: {content.reason}")
            for row in captions.rows(content, f"{self._where}: {entry.name}", name):
                picture = posixpath.normpath(posixpath.join(posixpath.dirname(entry.name), row.picture))
                record = pictured.get(_key(self._placed(picture)[1]))
                if record is None:
                    raise DataError(
                        f"{self._where}: {entry.name}: line {row.line} is of {row.picture}, and there is no such picture; "
                        "correct the row, or bring the picture"
                    )
                record.captions.setdefault(name, []).extend(row.captions)

    def _lacks(self, record: Files) -> str:
        """Why the files are no whole record, "" where they are."""
        missing = [name for name in self._fields if name not in record.entries and name not in record.captions]
        if not missing:
            return ""
        what = "row" if captions.is_rows(self._fields[missing[0]].place) else "file"
        there = ", ".join(entry.name for entry in record.all)
        return f"no {what} of that name in {', '.join(map(self._called, missing))}, beside {there}"

    def _called(self, name: str) -> str:
        """What messages call the place of a field."""
        kind, place = self._fields[name].kind, self._fields[name].place
        if kind not in SUFFIXES or captions.is_rows(place):
            return name if place == EVERYWHERE else place
        return f"*{SUFFIXES[kind]}" if place == EVERYWHERE else f"{place}/*{SUFFIXES[kind]}"

    def _placed(self, name: str) -> tuple[str, str]:
        """The field that a file is of, and its name without the folders of that; "" twice for a file of none."""
        parts = _composed(name).split("/")
        below = {key: rest for key, folders in self._folders_of.items() if (rest := _without(parts, folders))}
        kind = next((kind for kind, suffix in SUFFIXES.items() if name.lower().endswith(suffix)), "")
        of_kind = [key for key in below if self._fields[key].annotated and self._fields[key].kind == kind]
        own = of_kind or [key for key in below if not self._fields[key].annotated]
        if len(own) > 1:
            raise DataError(
                f"{self._where}: {name} lies in the folders of several fields, {', '.join(map(self._called, own))}; name the "
                f"folder of each with the one around it, as in {self._section}.fields.NAME.from: "
                f"around/{self._fields[own[0]].place}"
            )
        return (own[0], below[own[0]]) if own else ("", "")

    def _check_places(self, names: Sequence[str]) -> None:
        for name, one in self._fields.items():
            if any(name in record.entries or name in record.captions for record in self._records):
                continue
            place = self._called(name) if one.annotated else f"in a folder {self._called(name)}"
            folders = sorted({other.rpartition("/")[0] for other in names if "/" in other})
            known = f"its folders are {', '.join(folders[:NAMED])}{' and more' if len(folders) > NAMED else ''}"
            raise DataError(
                f"{self._where} has no files {place}; {known if folders else 'it has no folders'}: correct "
                f"{self._section}.fields.NAME.from, or bring the files"
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_records": [], "_rows": [], "_unread": []}

    def listing(self) -> Iterator[tuple[str, int]]:
        files = [*self._rows, *(entry for record in self._records for entry in record.all)]
        return ((entry.name, entry.size) for entry in files)

    def chunks(self, images: int, share: range) -> Iterator[list[Files]]:
        return by_size(self._records[share.start : share.stop], images, len(self._fields) * self.max_bytes)

    def items(self, chunk: list[Files]) -> Iterator[Item]:
        wanted = [entry for record in chunk if not record.problem for entry in record.all]
        read = self.storage.read([entry for entry in wanted if entry.size <= self.max_bytes])
        for record in chunk:
            if record.problem:
                yield self._item(record.name, Rejected(record.problem))
                continue
            found = {
                name: {
                    entry.name: _content(next(read)) if entry.size <= self.max_bytes else too_large(entry.size)
                    for entry in several
                }
                for name, several in record.entries.items()
            }
            yield self._item(record.name, {name: self._of_kind(name, found.get(name, {}), record) for name in self._fields})

    def _of_kind(self, name: str, files: Mapping[str, bytes | Rejected], record: Files) -> Content | list[str] | dict[str, bytes]:
        """What the files of a field hold."""
        broken = next((f"{file}: {content}" for file, content in files.items() if isinstance(content, Rejected)), "")
        kind = self._fields[name].kind
        if not self._fields[name].annotated:
            (picture,) = files.values()
            return picture
        if broken:
            return Rejected(broken)
        whole = {file: content for file, content in files.items() if isinstance(content, bytes)}
        if kind == "sound":
            return whole
        try:
            lines = [line for file, content in whole.items() for line in captions.utf8(content, file).splitlines()]
        except DataError as error:
            return Rejected(str(error))
        several = [*(line for line in lines if line.strip()), *record.captions.get(name, [])]
        return several or Rejected(f"{', '.join(whole)} holds no caption")


def _content(read: bytes | Damaged) -> bytes | Rejected:
    return Rejected(read.reason) if isinstance(read, Damaged) else read


def _composed(name: str) -> str:
    """As Unicode's NFC, since macOS stores the same name decomposed."""
    return unicodedata.normalize("NFC", name)


def _without(parts: list[str], folders: list[str]) -> str:
    """The name of a file without the folders of a field, "" where it does not lie in them."""
    for start in range(len(parts) - len(folders)):
        if parts[start : start + len(folders)] == folders:
            return "/".join(parts[:start] + parts[start + len(folders) :])
    return ""


def _key(name: str) -> str:
    """What files of one record have in common: the name, without the suffix of an image."""
    return name.rpartition(".")[0] if is_image(name) else name
