"""The arrangement of a source's images: order, duplicates, one label for each, split."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping

import numpy as np

from atelier.data.annotations import Annotations

FAMILY_BYTES = 8


class Found:
    """What a source gave: of each accepted record, in order of arrival, its hash, the number of its class name, its family."""

    def __init__(self) -> None:
        self.digests = bytearray()
        self.labels = array("i")
        self.held_out = bytearray()  # of each accepted image 1 where the source itself holds it out, else 0
        self.numbers: dict[str, int] = {}  # class name -> number, as first seen
        self.families = bytearray()  # of each the first FAMILY_BYTES of its family's hash, of a record of none of its own
        self.grouped = 0  # records with a family
        self.ungrouped: str | None = None  # the first name, in alphabetical order, of a record without one
        self.unlabelled: str | None = None  # the first name, in alphabetical order, of an image without a label
        self.rejected: list[tuple[str, str]] = []  # names and reasons, sorted once all are known
        self.profiles: Counter[str] = Counter()  # images converted to sRGB, by the name of their profile
        self.broken_profiles = 0  # images whose profile was ignored
        self.annotations: dict[str, Annotations] = {}  # captions and recordings by field
        self.sizes = array("i")  # of each accepted whole picture its width and height; of squares none

    @property
    def labelled(self) -> bool:
        return bool(self.numbers)

    def lacks_label(self, name: str) -> None:
        """Tells the name of an image without a label."""
        self.unlabelled = name if self.unlabelled is None else min(name, self.unlabelled)

    def belongs(self, name: str, digest: bytes, family: bytes | None) -> None:
        """Tells the hashes of a record and of its family, None where it has none."""
        self.families += (family or digest)[:FAMILY_BYTES]
        self.grouped += family is not None
        if family is None:
            self.ungrouped = name if self.ungrouped is None else min(name, self.ungrouped)

    def annotate(self, annotations: Mapping[str, Annotations]) -> None:
        """Adds captions and recordings by field."""
        for name, found in annotations.items():
            self.annotations.setdefault(name, Annotations()).join(found)

    def join(self, other: Found) -> None:
        """Adds what another part of the same source gave."""
        self.digests += other.digests
        # -1, which says that there is no label, stays -1: it takes the last number.
        numbers = np.array([*(self.numbers.setdefault(name, len(self.numbers)) for name in other.numbers), -1], dtype=np.int32)
        self.labels.frombytes(numbers[np.frombuffer(other.labels, dtype=np.int32)].tobytes())
        self.held_out += other.held_out
        self.families += other.families
        self.grouped += other.grouped
        names = [name for name in (self.ungrouped, other.ungrouped) if name is not None]
        self.ungrouped = min(names, default=None)
        self.sizes += other.sizes
        self.annotate(other.annotations)
        self.profiles += other.profiles
        self.broken_profiles += other.broken_profiles
        if other.unlabelled is not None:
            self.lacks_label(other.unlabelled)
        self.rejected = sorted(self.rejected + other.rejected)


class Arrangement:
    """Which images are kept, in which split and order, under which label: a function of the set of images, not of their sequence.

    classes: names in order, empty without labels. rows, labels, digests: of each split the positions int64 [N] in the order of
    arrival, the class indices int64 [N], the hashes uint8 [N, 32]. count: images kept. duplicates: images dropped as equal to one
    that is kept. conflicts: kept images that occurred under several labels. shared: kept images that occurred both among the
    source's training images and among those it holds out.
    """

    def __init__(self, found: Found, labelled: bool, holdout: float, given: bool = False) -> None:
        """`holdout` is the share that is drawn for the test split; with `given` that split is what the source holds out."""
        digests = np.frombuffer(bytes(found.digests), np.uint8).reshape(-1, 32)
        self.classes = _sorted_classes(found.numbers) if labelled else []
        labels = np.zeros(len(digests), dtype=np.int64)
        if labelled:
            ranks = {name: rank for rank, name in enumerate(self.classes)}
            by_number = np.array([ranks[name] for name in found.numbers])
            labels = by_number[np.frombuffer(found.labels, dtype=np.int32)]
        words = digests.view(">u8")
        order = np.lexsort(tuple(words[:, column] for column in (3, 2, 1, 0)))
        same = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
        starts = np.flatnonzero(np.concatenate([[True], ~same]))
        rows, labels = order[starts], labels[order]
        kept, self.conflicts = _agreed(labels, starts)
        self.count = len(rows)
        self.duplicates = len(order) - len(rows)
        if given:  # an image of both stays out of training, or what is measured on the held-out ones would be flattered
            held_out = np.frombuffer(bytes(found.held_out), np.bool_)[order]
            test = np.logical_or.reduceat(held_out, starts)
            self.shared = int((test & ~np.logical_and.reduceat(held_out, starts)).sum())
        else:
            # The hash's first 8 bytes as a fraction of 1: below `holdout` is the test split, whatever other images there are.
            families = np.frombuffer(bytes(found.families), ">u8").astype(np.uint64)[order]
            test = _families(families, starts) < np.uint64(int(holdout * 2**64))
            self.shared = 0
        self.rows = {"train": rows[~test], "test": rows[test]}
        self.labels = {"train": kept[~test], "test": kept[test]}
        self.digests = {split: digests[part] for split, part in self.rows.items()}


def _families(hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The family of each run of equal records, uint64: families that share a record are one, and have the lowest hash of them."""
    _, families = np.unique(hashes, return_inverse=True)
    lengths = np.diff(np.append(starts, len(hashes)))
    while True:
        lowest = np.minimum.reduceat(hashes, starts)
        joined = np.full(families.max() + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(joined, families, np.repeat(lowest, lengths))
        if (joined[families] == hashes).all():
            return lowest
        hashes = joined[families]


def _agreed(labels: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, int]:
    """One label for each run of equal images: the most frequent, of equals the first class. And how many runs conflict."""
    kept = np.minimum.reduceat(labels, starts)
    conflicts = np.flatnonzero(kept != np.maximum.reduceat(labels, starts))
    ends = np.append(starts[1:], len(labels))
    for run in conflicts:
        kept[run] = np.bincount(labels[starts[run] : ends[run]]).argmax()
    return kept, len(conflicts)


def _sorted_classes(names: dict[str, int]) -> list[str]:
    """Alphabetically; by value where all are numbers, so that 10 follows 9."""
    numeric = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numeric else sorted(names)
