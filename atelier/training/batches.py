"""Real images for the players: resident on the device when small, read ahead from memory-mapped shards when not."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.models.model import from_uint8
from atelier.tasks.base import Batch

RESIDENT_BYTES = 2 << 30


class Feed:
    """Batches as a pure function of (seed, stream, start): each stream is its own endless shuffle of the training images."""

    def __init__(self, data: PackedDataset, seed: int, device: torch.device) -> None:
        self.data, self.seed, self.device = data, seed, device
        self.labels = torch.from_numpy(data.labels)
        self.resident: torch.Tensor | None = None
        size = len(data) * data.channels * data.resolution**2
        if size <= RESIDENT_BYTES:
            self.resident = torch.from_numpy(data.images(np.arange(len(data)))).to(device)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: dict[tuple[int, int, int], Future[torch.Tensor]] = {}

    def batch(self, stream: int, start: int, count: int, following: int) -> Batch:
        """Images `start` .. `start + count` of a stream, float in [-1, 1] on the device.

        `following` is the start that will be asked for next with the same stream and count; it is read ahead where that helps.
        """
        index = self._index(stream, start, count)
        rows = torch.from_numpy(index)
        if self.resident is not None:
            pixels = self.resident[rows.to(self.device, non_blocking=True)]
        else:
            waiting = self._ahead.pop((stream, start, count), None)
            pixels = waiting.result() if waiting else self._read(index)
            ahead = self._index(stream, following, count)
            self._ahead[stream, following, count] = self._reader.submit(self._read, ahead)
            pixels = pixels.to(self.device, non_blocking=True)
        return Batch(from_uint8(pixels), self.labels[rows].to(self.device, non_blocking=True))

    def _index(self, stream: int, start: int, count: int) -> np.ndarray:
        return positions(self.seed + stream * 2**32, len(self.data), start, count)

    def _read(self, index: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(self.data.images(index))
        return pixels.pin_memory() if self.device.type == "cuda" else pixels


def held_out(data: PackedDataset, seed: int, count: int, device: torch.device) -> Batch | None:
    """A fixed batch of images that a training on `data` never sees, some more than once if there are few; None without any."""
    if data.split != "train" or not data.manifest.splits["test"].count:
        return None
    kept = PackedDataset(data.folder, "test")
    index = positions(seed, len(kept), 0, count)
    return Batch(from_uint8(torch.from_numpy(kept.images(index)).to(device)), torch.from_numpy(kept.labels[index]).to(device))
