"""Squares out of whole pictures: which ones a set counts as its records, and how training cuts others at random.

A picture of H x W pixels counts as (H // resolution) * (W // resolution) records, so that a large one is seen as much more often
as it is larger. Where nothing may be random, as in what is held out, record (a, b) of a picture is its window: a cell of the grid
of squares in the middle of the picture, which do not overlap. In training it is a crop, whose corner is drawn from a share of all
corners that is as large for every record: all corners of a picture are equally likely, and an epoch still sees it all over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Crops:
    """How training cuts whole pictures: squares of `side` pixels of the field that is imitated, 0 for the set's resolution.

    `flips`: half of them are mirrored, left to right. `turns`: they are turned by 0 to 3 quarters. All fields of a record alike.
    """

    side: int = 0
    flips: bool = False
    turns: bool = False


AS_THEY_ARE = Crops()


class Places(NamedTuple):
    """Where records lie: the number of each one's picture, and the upper left corner of its square. All int64 [N]."""

    pictures: np.ndarray
    tops: np.ndarray
    lefts: np.ndarray


class Grid:
    """The records of pictures of these `sizes`, int64 [P, 2] of (height, width), none less than `resolution`.

    Corners are multiples of `unit`, the least common multiple of the fields' scales, as `resolution` is.
    """

    def __init__(self, sizes: np.ndarray, resolution: int, unit: int = 1) -> None:
        self.sizes, self.resolution, self.unit = sizes, resolution, unit
        self.cells = sizes // resolution
        self._starts = np.concatenate([[0], np.cumsum(self.cells.prod(axis=1))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def counts(self) -> np.ndarray:
        """How many records each picture counts as, int64 [P]."""
        return np.diff(self._starts)

    def windows(self, records: np.ndarray, side: int) -> Places:
        """The windows of these records, of which the middle `side` pixels."""
        pictures, cells = self._cells(records)
        margin = (self.sizes[pictures] - self.cells[pictures] * self.resolution) // 2
        inner = (self.resolution - side) // 2
        corners = (margin + inner) // self.unit * self.unit + cells * self.resolution
        return Places(pictures, corners[:, 0], corners[:, 1])

    def drawn(self, records: np.ndarray, words: np.ndarray, side: int) -> Places:
        """Crops of `side` pixels by random words, uint64 [N, 2 or more]."""
        pictures, cells = self._cells(records)
        corners = (self.sizes[pictures] - side) // self.unit + 1  # that there are in each direction
        uniform = (words[:, :2] >> np.uint64(11)) * 2.0**-53
        drawn = np.floor((cells + uniform) * corners / self.cells[pictures]).astype(np.int64)
        places = np.minimum(drawn, corners - 1) * self.unit
        return Places(pictures, places[:, 0], places[:, 1])

    def _cells(self, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of the records, and their cells int64 [N, 2] as (row, column)."""
        pictures = np.searchsorted(self._starts, records, side="right") - 1
        rows, columns = np.divmod(records - self._starts[pictures], self.cells[pictures, 1])
        return pictures, np.stack([rows, columns], axis=1)


def moved(square: np.ndarray, word: int, cut: Crops) -> np.ndarray:
    """A square [side, side, C] mirrored and turned as the random word says, where `cut` has it; a view."""
    if cut.flips and word & 1:
        square = square[:, ::-1]
    return np.rot90(square, (word >> 1) & 3) if cut.turns else square
