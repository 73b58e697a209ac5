"""Squared distances between features, compared alike on every machine.

Distances of all pairs come from products of matrices, whose last bits depend on the processor, the BLAS, its threads and where in
the matrix a pair stands. So products only decide what they are certain of. What is within their error bound is measured by
`direct`, in which equal pairs have equal distances wherever they stand (a floating-point filter, Shewchuk 1997).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atelier.metrics.identity import MetricError

BLOCK = 500  # rows of a matrix of distances that exist at a time
PAIRS = 2000  # pairs whose differences exist at a time


def direct(first: np.ndarray, second: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared distance of first[rows[n]] to second[columns[n]] for each n, float64: the sum of squared differences.

    Differences and squares are rounded once each, and NumPy adds a contiguous row pairwise in a fixed order.
    """
    squares = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS):
        part = slice(start, start + PAIRS)
        differences = first[rows[part]].astype(np.float64) - second[columns[part]]
        squares[part] = np.square(differences, out=differences).sum(axis=1)
    return squares


@dataclass(frozen=True)
class Pairs:
    """All rows of `first` [N, d] with all of `second` [M, d]."""

    first: np.ndarray
    second: np.ndarray

    def blocks(self) -> Iterator[Block]:
        """The distances, for some rows of `first` at a time.

        Their error: a product of d terms, summed in whatever order, is within d u |a| |b| of the true one (u = 2^-53; Higham
        2002, section 3.1), a distance made of it and both squared lengths within 2 (d + 2) u (|a|^2 + |b|^2), and `direct`
        within as much.
        """
        second = self.second.astype(np.float64)
        lengths = np.square(second).sum(axis=1)
        share = 2 * (second.shape[1] + 2) * np.finfo(np.float64).eps
        for start in range(0, len(self.first), BLOCK):
            rows = slice(start, min(start + BLOCK, len(self.first)))
            part = self.first[rows].astype(np.float64)
            own = np.square(part).sum(axis=1)
            part *= -2
            products = part @ second.T
            products += lengths
            products += own[:, None]
            yield Block(self, rows, products, share * float(own.max() + lengths.max()))

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """A number for each row of both sets, int64 [N] and [M]; rows of the same bytes have the same one."""
        known: dict[bytes, int] = {}
        own, other = (np.array([known.setdefault(name, len(known)) for name in _names(one)]) for one in (self.first, self.second))
        return own, other


@dataclass(frozen=True)
class Block:
    """Squared distances of some rows of one set to all of another, float64 [n, M], each within `error` of `direct`."""

    pairs: Pairs
    rows: slice
    products: np.ndarray
    error: float

    def inside(self, radii: np.ndarray) -> np.ndarray:
        """bool [n, M]: which pairs are nearer than squared radii, that are one a row, [n, 1], or one a column, [M].

        Equal rows are inside of every radius, 0 too: an image that a set has several times would not cover itself.
        """
        certain = self.products < radii - self.error
        rows, columns = _where(certain != (self.products <= radii + self.error))
        if len(rows):
            own, other = self.pairs.numbers
            squares = np.zeros(len(rows))
            unlike = np.flatnonzero(own[self.rows][rows] != other[columns])  # nearly none where a set has collapsed
            squares[unlike] = self._direct(rows[unlike], columns[unlike])
            limits = np.broadcast_to(radii, certain.shape)[rows, columns]
            certain[rows, columns] = (squares < limits) | (squares == 0)
        return certain

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k columns with the smallest distances in each row, and these: both [n, k], the smallest first, ties by column."""
        # Where no distance is off by more than e, the k-th smallest is not either: it is within 2 e of the k-th product.
        limits = np.partition(self.products, k - 1, axis=1)[:, k - 1] + 2 * self.error
        rows, columns = _where(self.products <= limits[:, None])
        squares = self._direct(rows, columns)
        order = np.lexsort((columns, squares, rows))
        best = order[np.searchsorted(rows, np.arange(len(self.products)))[:, None] + np.arange(k)]
        return columns[best], squares[best]

    def _direct(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return direct(self.pairs.first, self.pairs.second, rows + self.rows.start, columns)


def nearest(first: np.ndarray, second: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `second` [M, d] nearest to each of `first` [N, d], and their squared distances: both [N, k], nearest first.

    Equal distances go by row. Raises MetricError when k is not in 1 … M.
    """
    if not 1 <= k <= len(second):
        raise MetricError(f"{k} nearest neighbors of {len(second)} images; choose 1 to {len(second)}")
    kept = _at_most(k, second)
    indices, squares = np.empty((len(first), k), np.int64), np.empty((len(first), k))
    for block in Pairs(first, second if len(kept) == len(second) else second[kept]).blocks():
        columns, squares[block.rows] = block.nearest(k)
        indices[block.rows] = kept[columns]
    return indices, squares


def _at_most(count: int, features: np.ndarray) -> np.ndarray:
    """Rows before which there are fewer than `count` equal ones: of a collapsed set a few, and no further one would be found."""
    copies: dict[bytes, int] = {}
    kept = []
    for row, name in enumerate(_names(features)):
        copies[name] = copies.get(name, 0) + 1
        if copies[name] <= count:
            kept.append(row)
    return np.array(kept)


def _names(features: np.ndarray) -> Iterator[bytes]:
    return (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in features)


def _where(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what is true in a matrix; np.nonzero, but quick where that is little."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, columns
