"""What is said of pictures: the captions and recordings of records, each kept once however many records share it.

A record is known by the sha256 of its captions as they are written and of its recordings as they are stored, never by the numbers
that are made of them: two machines agree on the one even where the other differed.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from atelier.data.errors import Rejected

DIGEST_BYTES = 32
LONGEST_TEXT = 1000  # characters
RECENT = 2**13  # recordings of 5 kB that a process remembers, since records may share them
_recent: dict[bytes, bytes] = {}


class Annotation(NamedTuple):
    """The captions or recordings of a record: sha256 -> UTF-8, or the log-mel spectrogram as float16 [40, 64] little-endian."""

    entries: Mapping[bytes, bytes]

    @property
    def digest(self) -> bytes:
        """sha256 of all of them in their order."""
        return hashlib.sha256(b"".join(self.entries)).digest()


@dataclass
class Annotations:
    """Those of many records: `entries` as in Annotation, `lists` the hashes of the entries of each Annotation by its digest."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    lists: dict[bytes, list[bytes]] = field(default_factory=dict)

    def add(self, one: Annotation) -> None:
        self.entries |= one.entries
        self.lists[one.digest] = list(one.entries)

    def join(self, other: Annotations) -> None:
        self.entries |= other.entries
        self.lists |= other.lists

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        entries = {key.hex(): base64.b64encode(value).decode() for key, value in sorted(self.entries.items())}
        return {"entries": entries, "lists": {key.hex(): [one.hex() for one in keys] for key, keys in sorted(self.lists.items())}}

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Annotations:
        entries = {bytes.fromhex(key): base64.b64decode(value) for key, value in values["entries"].items()}
        return cls(entries, {bytes.fromhex(key): [bytes.fromhex(one) for one in keys] for key, keys in values["lists"].items()})


def annotation(kind: str, content: Any) -> Annotation:
    """What a source gives for a record, a list of str (text) or bytes by name (sound). Raises Rejected where one is unfit."""
    if isinstance(content, Rejected):
        raise content
    return Annotation(dict(map(_text, content) if kind == "text" else (_sound(one, name) for name, one in content.items())))


def _text(text: str) -> tuple[bytes, bytes]:
    """A caption with single spaces, composed as Unicode's NFC."""
    content = " ".join(unicodedata.normalize("NFC", text).split())
    if not content:
        raise Rejected("an empty caption; write it, or take it out")
    if len(content) > LONGEST_TEXT:
        raise Rejected(f"a caption of {len(content)} characters; shorten it to {LONGEST_TEXT}")
    encoded = content.encode()
    return hashlib.sha256(encoded).digest(), encoded


def _sound(wav: bytes, name: str) -> tuple[bytes, bytes]:
    from atelier.io.sound import SoundError, log_mel

    digest = hashlib.sha256(wav).digest()
    if digest not in _recent:
        if len(_recent) == RECENT:
            _recent.clear()
        try:
            _recent[digest] = log_mel(wav).astype("<f2").tobytes()
        except SoundError as error:
            raise Rejected(f"{name} {error}") from error
    return digest, _recent[digest]
