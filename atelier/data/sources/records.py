"""Trees in which each field of a record has a folder of its own: files of equal names below them are one record.

    lines/cat/1.png + colour/cat/1.jpg     one record, cat/1, of the fields that come from lines and colour

The folder of a field may lie anywhere above its files (lines/train/1.png as well as train/lines/1.png). What is left of a name
without it means what names mean in a tree of images: folders around everything, a given split, classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from atelier.data.errors import DataError, Rejected
from atelier.data.process import Content
from atelier.data.sources.base import Item, by_size, too_large
from atelier.data.sources.folders import is_image
from atelier.data.sources.tree import Tree
from atelier.io.storage import Damaged, Entry

NAMED = 8  # folders that a message names


@dataclass(slots=True)
class Files:
    """The files of one record by the folders of their fields; `problem` says why they are none."""

    name: str
    entries: dict[str, Entry] = field(default_factory=dict)
    problem: str = ""

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries.values())


class RecordSource(Tree):
    """The records of a tree. Files in no field's folder are not read, which the manifest says."""

    def __init__(self, kind: str, path: str, max_bytes: int, section: str, split: str, places: Sequence[str]) -> None:
        self._places = {place: _composed(place).strip("/").split("/") for place in places}
        self._where, self._section = f"{section}.path {path!r}", section
        super().__init__(kind, path, max_bytes, section, split)
        if self._unread:
            self.facts = {**self.facts, "not_read": f"{len(self._unread)}, first {self._unread[0]}"}

    def _arrange(self, entries: list[Entry]) -> list[str]:
        records: dict[str, Files] = {}
        self._unread: list[str] = []
        for entry in entries:
            place, rest = self._placed(entry.name)
            if not place:
                self._unread.append(entry.name)
                continue
            record = records.setdefault(_key(rest), Files(rest))
            if place in record.entries:
                record.problem = f"{record.entries[place].name} and {entry.name} are both its {place}; remove one"
            record.entries.setdefault(place, entry)
        self._records = list(records.values())
        self._check_places([entry.name for entry in entries])
        for record in self._records:
            missing = [place for place in self._places if place not in record.entries]
            if missing and not record.problem:
                there = ", ".join(entry.name for entry in record.entries.values())
                record.problem = f"no file of that name in {', '.join(missing)}, beside {there}"
        return [record.name for record in self._records]

    def _placed(self, name: str) -> tuple[str, str]:
        """The place of the field that a file is of, and its name without those folders; "" twice for a file of none."""
        parts = _composed(name).split("/")
        below = {place: rest for place, folders in self._places.items() if (rest := _without(parts, folders))}
        if len(below) > 1:
            raise DataError(
                f"{self._where}: {name} lies in the folders of several fields, {', '.join(below)}; name the folder of each with "
                f"the one around it, as in {self._section}.fields.NAME.from: around/{next(iter(below))}"
            )
        return next(iter(below.items()), ("", ""))

    def _check_places(self, names: Sequence[str]) -> None:
        for place in self._places:
            if not any(place in record.entries for record in self._records):
                folders = sorted({name.rpartition("/")[0] for name in names if "/" in name})
                known = f"its folders are {', '.join(folders[:NAMED])}{' and more' if len(folders) > NAMED else ''}"
                raise DataError(
                    f"{self._where} has no files in a folder {place}; {known if folders else 'it has no folders'}: correct "
                    f"{self._section}.fields.NAME.from, or bring the files"
                )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_records": [], "_unread": []}

    def listing(self) -> Iterator[tuple[str, int]]:
        return ((entry.name, entry.size) for record in self._records for entry in record.entries.values())

    def chunks(self, images: int, share: range) -> Iterator[list[Files]]:
        return by_size(self._records[share.start : share.stop], images, len(self._places) * self.max_bytes)

    def items(self, chunk: list[Files]) -> Iterator[Item]:
        wanted = [entry for record in chunk if not record.problem for entry in record.entries.values()]
        read = self.storage.read([entry for entry in wanted if entry.size <= self.max_bytes])
        for record in chunk:
            content: Rejected | dict[str, Content] = Rejected(record.problem)
            if not record.problem:
                content = {
                    place: _content(next(read)) if entry.size <= self.max_bytes else too_large(entry.size)
                    for place, entry in record.entries.items()
                }
            yield self._item(record.name, content)


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
