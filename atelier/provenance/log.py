"""The log of what left: a fingerprint of each picture, by which one is named after its marks are lost, however small it is.

A fingerprint is the sign of each number of a picture's vector of middle frequencies (watermark/spectrum.py), 65 bytes, from which
no picture can be made again. It is compared at all places and at the sizes that crops have, by the correlation of phases (Kuglin
and Hines, "The phase correlation image alignment method", 1975). Unlike a watermark it is no proof: pictures of one generator can
be alike, so that the nearest one is named only where all others are much farther.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atelier.errors import AtelierError
from atelier.provenance.watermark.finding import SCALES, cosines
from atelier.provenance.watermark.spectrum import COEFFICIENTS, HIGHEST, analyzed, resized

LOG = "ATELIER_LOG"
TABLE = "CREATE TABLE IF NOT EXISTS images (id INTEGER PRIMARY KEY, time REAL, about TEXT, fingerprint BLOB)"
BYTES = 2 * COEFFICIENTS // 8
ITSELF = float(np.sqrt(2 / np.pi))  # the cosine of a normal vector and its signs, which is called a likeness of 1
ALIKE, LEAD = 0.5, 0.2  # the least likeness of what is named, and how much less all other pictures have to be like it
SAME = 0.05  # share of signs in which two fingerprints of one picture may differ
PLACES = 32  # a side, of which frequencies to HIGHEST are known
_AT_ONCE = 2048  # fingerprints that are compared, for memory
_SECONDS = 30.0  # that another process may keep the file locked

assert HIGHEST < PLACES // 2 and 2 * COEFFICIENTS % 8 == 0


class LogError(AtelierError):
    """The log cannot be written or read."""


@dataclass(frozen=True)
class Logged:
    """The picture of the log that another is most like: what was known of it, when it left (seconds since 1970), the likeness
    (1: the same) and that of the next other picture, 0 where there is none."""

    about: dict[str, Any]
    time: float
    likeness: float
    next: float


def logging() -> Path | None:
    """The log's file; None where ATELIER_LOG names none."""
    path = os.environ.get(LOG)
    return Path(path) if path else None


def note(path: Path, luminance: np.ndarray, about: Mapping[str, Any]) -> None:
    """Adds a picture, luminance [H, W] in levels, to the log. Several processes may do so at once. Raises LogError."""
    unit = analyzed(resized(luminance)).unit
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS)) as file, file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=NORMAL")
            file.execute(TABLE)
            values = time.time(), json.dumps(dict(about)), fingerprint(unit)
            file.execute("INSERT INTO images (time, about, fingerprint) VALUES (?, ?, ?)", values)
    except sqlite3.Error as error:
        raise _trouble(path, "written", error) from error


def fingerprint(unit: np.ndarray) -> bytes:
    """BYTES of signs of a vector, complex [COEFFICIENTS]."""
    return np.packbits(np.concatenate([unit.real, unit.imag]) > 0).tobytes()


def find_logged(path: Path, luminance: np.ndarray) -> Logged | None:
    """The picture of the log that one, luminance [H, W] in levels, was made of; None where none is much nearer than all others.

    The picture may be smaller or larger than it was, compressed, or cut to three quarters of its sides. Raises LogError.
    """
    units = [analyzed(resized(luminance, scale)).unit for scale in SCALES]
    compared = [(numbers, prints, _likenesses(units, prints)) for numbers, prints in _stored(path)]
    if not compared:
        return None
    numbers, prints, likenesses = (np.concatenate(column) for column in zip(*compared, strict=True))
    best = int(likenesses.argmax())
    others = np.bitwise_count(prints ^ prints[best]).sum(axis=1) > SAME * 8 * BYTES
    following = float(likenesses[others].max(initial=0))
    if likenesses[best] < ALIKE or likenesses[best] - following < LEAD:
        return None
    about, moment = _row(path, int(numbers[best]))
    return Logged(about, moment, float(likenesses[best]), following)


def _likenesses(units: list[np.ndarray], prints: np.ndarray) -> np.ndarray:
    """Of a picture at several sizes and fingerprints uint8 [N, BYTES] the greatest cosines at any place, over ITSELF; [N]."""
    signs = np.unpackbits(prints, axis=1).astype(np.float32) * 2 - 1
    stored = (signs[:, :COEFFICIENTS] + 1j * signs[:, COEFFICIENTS:]) / np.sqrt(2 * COEFFICIENTS)
    best = np.zeros(len(prints))
    for unit in units:
        best = np.maximum(best, cosines(unit, stored, PLACES).max(axis=(1, 2)))
    return np.asarray(best / ITSELF)


def _stored(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers [n] and fingerprints uint8 [n, BYTES] of the log, some at a time. Raises LogError."""
    with _reading(path) as file:
        rows = file.execute("SELECT id, fingerprint FROM images")
        while some := rows.fetchmany(_AT_ONCE):
            yield np.array([number for number, _ in some]), np.stack([np.frombuffer(one, np.uint8) for _, one in some])


def _row(path: Path, number: int) -> tuple[dict[str, Any], float]:
    with _reading(path) as file:
        about, moment = file.execute("SELECT about, time FROM images WHERE id = ?", (number,)).fetchone()
        return json.loads(about), float(moment)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The log, for reading. Raises LogError, also for what is found while it is read."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as file:
            yield file
    except (sqlite3.Error, ValueError) as error:
        raise _trouble(path, "read", error) from error


def _trouble(path: Path, done: str, error: Exception) -> LogError:
    return LogError(f"{path}: the log cannot be {done} ({error}); {LOG} names an SQLite file on a disk of this machine with room")
