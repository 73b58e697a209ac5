"""The tables of a packed set: what became of its captions and recordings, each once, in FIELD.npy beside the shards.

Rows are in the order of the sha256 of what they were made of, so that the bytes depend on nothing else. FIELD.json lists the
captions in the same order, for reports.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from atelier.data.annotations import Annotations
from atelier.data.errors import REMEDY, DataError
from atelier.data.manifest import FieldInfo, Table
from atelier.data.process import RecordField
from atelier.data.shards import ROW_BYTES, RowsByDigest
from atelier.extractors import sentences, texts, words
from atelier.io import sound
from atelier.io.files import atomic_write, canonical_json, read_json, sha256_file

SHOWN = 8  # unknown words that packing names


def bring_encoders(fields: Iterable[RecordField], section: str) -> None:
    """Fetches once what texts need. Raises DataError or ExtractorError where it cannot be had."""
    for field in fields:
        if field.words:
            words.bring(field.words, field.sha256, f"{section}.fields.{field.name}.words")
        elif field.kind == "text":
            sentences.bring()


def write_table(folder: Path, field: RecordField, found: Annotations, section: str) -> tuple[Table, RowsByDigest]:
    """Writes the table of a field; returns its description, and which rows stand for the captions or recordings of a record."""
    keys = sorted(found.entries)
    rows = {key: row for row, key in enumerate(keys)}
    contents = [found.entries[key] for key in keys]
    files: dict[str, str | bytes] = {}
    name = field.name
    if field.kind == "text":
        said = [content.decode() for content in contents]
        encoder, weights = (words.ENCODER, field.sha256) if field.words else (sentences.ENCODER, sentences.WEIGHTS_SHA256)
        values, unknown = texts.embed(encoder, weights, said)
        if unknown:
            most_common = ", ".join(f"{word} ({count})" for word, count in unknown.most_common(SHOWN))
            print(
                f"{section}.fields.{name}: {len(unknown)} words of its captions have no vector in {field.words} and are left "
                f"out, first {most_common}",
                file=sys.stderr,
            )
        files[f"{name}.json"] = canonical_json(said)
    else:
        values = np.stack([np.frombuffer(content, "<f2") for content in contents]).reshape(-1, sound.BANDS, sound.FRAMES)
        encoder, weights = sound.NAME, ""
    array = io.BytesIO()
    np.save(array, values.astype("<f2"), allow_pickle=False)
    files[f"{name}.npy"] = array.getvalue()
    for file, content in files.items():
        atomic_write(folder / file, content)
    most = max(map(len, found.lists.values()))
    padded = {
        digest: np.array([rows[key] for key in own] + [-1] * (most - len(own)), np.int32) for digest, own in found.lists.items()
    }
    hashes = {file: sha256_file(folder / file) for file in sorted(files)}
    described = Table(entries=len(keys), most=most, shape=list(values.shape[1:]), encoder=encoder, weights=weights, sha256=hashes)
    return described, padded


class Tables:
    """The tables of a packed set in a folder, mapped, not loaded. Raises DataError where one is missing or damaged."""

    def __init__(self, folder: Path, fields: dict[str, FieldInfo]) -> None:
        self._values: dict[str, np.ndarray] = {}
        self._texts: dict[str, list[str]] = {}
        for name, field in fields.items():
            if field.table:
                self._check(folder, field.table)
                self._values[name] = self._mapped(folder / f"{name}.npy", field.table)
                if field.kind == "text":
                    self._texts[name] = read_json(folder / f"{name}.json")

    @staticmethod
    def _check(folder: Path, table: Table) -> None:
        for name, sha256 in table.sha256.items():
            try:
                found = sha256_file(folder / name)
            except OSError as error:
                raise DataError(f"{folder / name}: cannot be read ({error.strerror}); {REMEDY}") from error
            if found != sha256:
                raise DataError(f"{folder / name}: damaged, its sha256 is not the manifest's; {REMEDY}")

    @staticmethod
    def _mapped(path: Path, table: Table) -> np.ndarray:
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: is no table ({error}); {REMEDY}") from error
        if values.shape != (table.entries, *table.shape) or values.dtype != np.dtype("<f2"):
            raise DataError(f"{path}: holds {values.dtype} {values.shape}, not what the manifest says; {REMEDY}")
        return values

    def values(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Entries of a field at these rows of its table, float32 [N, *shape]."""
        return self._values[name][rows].astype(np.float32)

    def texts(self, name: str, rows: np.ndarray) -> list[list[str]]:
        """The captions of records by their rows, int [N, most]."""
        return [[self._texts[name][row] for row in own if row >= 0] for own in rows.tolist()]


def chosen(rows: np.ndarray, words: np.ndarray | None) -> np.ndarray:
    """One row of each record, int [N], of its rows int [N, most] (-1 behind them): the first, or by random words uint64 [N]."""
    if words is None:
        return rows[:, 0]
    counts = (rows >= 0).sum(axis=1).astype(np.uint64)
    return rows[np.arange(len(rows)), (words % counts).astype(np.int64)]


def as_rows(content: np.ndarray) -> Any:
    """The rows in the bytes of records, uint8 [N, 4 * most] -> int32 [N, most]."""
    return np.ascontiguousarray(content).view("<i4").reshape(len(content), content.shape[1] // ROW_BYTES)
