"""Real records for the updates: resident on the device when small, read ahead from memory-mapped shards when not.

Of whole pictures a record is a crop, whose place is drawn for its position in the stream: a resumed run, another number of ranks
and reading ahead cut the same ones. Of several captions or recordings of a record one is drawn in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from atelier.data.crops import AS_THEY_ARE, Crops
from atelier.data.packed import PackedDataset
from atelier.data.sampler import CHOICES, positions, words
from atelier.models.model import from_uint8
from atelier.tasks.base import Batch

RESIDENT_BYTES = 2 << 30
Pixels = dict[str, Tensor]  # of records by field, uint8 [N, C, H, W]; captions and recordings float32
SET_STREAMS = 2**16  # streams of a set's own, so that a record's partner in another set is another one each epoch


class Batches:
    """Batches of one or several sets as a pure function of (seed, stream, start): each stream is its own endless shuffle."""

    def __init__(self, data: Mapping[str, PackedDataset], seed: int, device: torch.device, crops: Crops = AS_THEY_ARE) -> None:
        resident = RESIDENT_BYTES / len(data)
        self._sets = {
            name: _Set(images, seed, number * SET_STREAMS, device, resident, crops)
            for number, (name, images) in enumerate(data.items())
        }

    def batch(self, stream: int, start: int, count: int, prefetch_start: int) -> Batch:
        """Records `start` .. `start + count` of a stream by field, on the device; see `atelier.tasks.base.Batch`.

        `prefetch_start` is the start that will be asked for next with the same stream and count; it is read ahead where that
        helps.
        """
        return _merged({name: one.batch(stream, start, count, prefetch_start) for name, one in self._sets.items()})

    def picked(self, rows: np.ndarray) -> Batch:
        """The records at rows int64 [n] of the only set, by field."""
        (one,) = self._sets.values()
        return one.picked(rows)

    def blank(self, count: int) -> Batch:
        """A batch of the only set that tells nothing of its records: gray images, labels that are drawn uniformly."""
        (one,) = self._sets.values()
        return one.blank(count)

    def held_out(self, count: int) -> Batch | None:
        """A fixed batch of records that no training on these sets sees; None where a set has none."""
        parts = {name: one.held_out(count) for name, one in self._sets.items()}
        whole = {name: part for name, part in parts.items() if part is not None}
        return _merged(whole) if len(whole) == len(parts) else None


class _Set:
    """The records of one set."""

    def __init__(
        self, data: PackedDataset, seed: int, first_stream: int, device: torch.device, resident: float, cut: Crops
    ) -> None:
        self.data, self.seed, self.first_stream, self.device, self.cut = data, seed, first_stream, device, cut
        self.labels = torch.from_numpy(data.labels)
        self.resident: Pixels | None = None
        if data.whole:
            data.check_crops(cut)
        elif len(data) * sum(field.channels for field in data.fields.values()) * data.resolution**2 <= resident:
            pictures = data.read_pictures(np.arange(len(data)))
            self.resident = {name: torch.from_numpy(one).to(device) for name, one in pictures.items()}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[tuple[int, int, int], Future[Pixels]] = {}

    def batch(self, stream: int, start: int, count: int, prefetch_start: int) -> Batch:
        rows = self._index(stream, start, count)
        pixels = self._resident(rows)
        if pixels is not None:
            pixels |= self._annotations(stream, start, rows)
        else:
            waiting = self._ahead.pop((stream, start, count), None)
            pixels = waiting.result() if waiting else self._read(stream, start, count)
            self._ahead[stream, prefetch_start, count] = self._reader.submit(self._read, stream, prefetch_start, count)
        return self._fields(pixels, self.labels[torch.from_numpy(rows)])

    def picked(self, rows: np.ndarray) -> Batch:
        pixels = self._resident(rows)
        if pixels is None:
            pixels = {name: torch.from_numpy(values) for name, values in self.data.read_pictures(rows).items()}
        return self._fields(pixels, self.labels[torch.from_numpy(rows)])

    def blank(self, count: int) -> Batch:
        shapes = {name: (count, field.channels, *[self.data.resolution] * 2) for name, field in self.data.fields.items()}
        gray = {name: torch.full(shape, 128, dtype=torch.uint8) for name, shape in shapes.items()}
        return self._fields(gray, torch.randint(max(len(self.data.classes), 1), (count,)))

    def held_out(self, count: int) -> Batch | None:
        if self.data.split != "train" or not self.data.manifest.splits["test"].count:
            return None
        kept = PackedDataset(self.data.folder, "test")
        index = positions(self.seed, len(kept), 0, count)
        found = kept.middles(index, self.cut) if kept.whole else kept.read(index)
        pixels = {name: torch.from_numpy(values) for name, values in found.items()}
        return self._fields(pixels, torch.from_numpy(kept.labels[index]))

    def _resident(self, rows: np.ndarray) -> Pixels | None:
        """The pictures at these rows; None where they are not kept on the device."""
        if self.resident is None:
            return None
        there = torch.from_numpy(rows).to(self.device, non_blocking=True)
        return {name: values[there] for name, values in self.resident.items()}

    def _fields(self, pixels: Pixels, labels: Tensor) -> Batch:
        there = {name: values.to(self.device, non_blocking=True) for name, values in pixels.items()}
        maps = {name for name, field in self.data.fields.items() if field.kind == "map"}
        fields = {
            name: values[:, 0].long() if name in maps else values if self.data.fields[name].table else from_uint8(values)
            for name, values in there.items()
        }
        return fields | ({"label": labels.to(self.device, non_blocking=True)} if self.data.classes else {})

    def _annotations(self, stream: int, start: int, index: np.ndarray) -> Pixels:
        found = self.data.annotations(index, words(self._seed_of(stream), start, len(index), CHOICES))
        return {name: torch.from_numpy(values) for name, values in found.items()}

    def _index(self, stream: int, start: int, count: int) -> np.ndarray:
        return positions(self._seed_of(stream), len(self.data), start, count)

    def _seed_of(self, stream: int) -> int:
        return self.seed + (self.first_stream + stream) * 2**32

    def _read(self, stream: int, start: int, count: int) -> Pixels:
        index = self._index(stream, start, count)
        if self.data.whole:
            found = self.data.crops(index, words(self._seed_of(stream), start, count), self.cut)
        else:
            found = self.data.read(index, words(self._seed_of(stream), start, count, CHOICES))
        pixels = {name: torch.from_numpy(values) for name, values in found.items()}
        return {name: values.pin_memory() for name, values in pixels.items()} if self.device.type == "cuda" else pixels


def _merged(parts: Mapping[str, Batch]) -> Batch:
    """The fields of one set as they are, those of several as SET.FIELD."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    return {f"{name}.{field}": values for name, part in parts.items() for field, values in part.items()}


class FixedExamples:
    """The examples of a run for its probe: a stream that no update reads, and records that are held out."""

    def __init__(self, batches: Batches, stream: int) -> None:
        self.batches, self.stream = batches, stream

    def training(self, count: int) -> Iterator[Batch]:
        """One batch of `count` records after the other."""
        for start in itertools.count(0, count):
            yield self.batches.batch(self.stream, start, count, prefetch_start=0)

    def held_out(self, count: int) -> Batch | None:
        """Records that training never sees; None where there are none."""
        return self.batches.held_out(count)
