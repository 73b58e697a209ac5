"""A packed dataset: images by index, straight from memory-mapped shards."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from atelier.data.errors import DataError
from atelier.data.manifest import SPLITS, Manifest, Shard, load_manifest
from atelier.data.shards import ZERO, layout_of
from atelier.files import sha256_file

REMEDY = "run `dvc repro` (or `dvc pull`) to bring it back"
VERIFY_IMAGES = 1024


class PackedDataset:
    """One split of a packed dataset, or all of it (train, then test). Images stay on disk and are mapped, not loaded.

    Raises DataError, naming file and remedy, for a missing or broken manifest, a missing or truncated shard, and an empty split.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        if split not in (*SPLITS, "all"):
            raise DataError(f"no split {split!r}; choose train, test or all")
        self.folder = Path(folder)
        self.split = split
        self.manifest: Manifest = load_manifest(self.folder)
        self.resolution = self.manifest.resolution
        self.channels = self.manifest.channels
        self.classes = self.manifest.classes
        self.content_hash = self.manifest.content_hash
        self._layout = self.manifest.layout
        if self._layout != layout_of(self.resolution, self.channels, len(self.classes)):
            raise DataError(f"{self.folder}: the manifest's layout does not fit its resolution, channels and classes; {REMEDY}")
        chosen = [part for part in SPLITS if split in (part, "all")]
        self._shards = [shard for part in chosen for shard in self.manifest.shards if shard.split == part]
        self._records = [self._mapped(shard) for shard in self._shards]
        self._starts = np.cumsum([0] + [shard.count for shard in self._shards])
        expected = sum(self.manifest.splits[part].count for part in chosen)
        if len(self) != expected:
            raise DataError(
                f"{self.folder}: the shards hold {len(self)} images of split {split!r}, the manifest {expected}; {REMEDY}"
            )
        if not len(self):
            raise DataError(f"{self.folder}: its split {split!r} is empty; raise data.holdout (or target.holdout) and pack again")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices, uint8 [N, C, H, W]. Raises IndexError outside 0 … len - 1."""
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"image indices {indices.min()} … {indices.max()} of a set of {len(self)}")
        size = self.resolution * self.resolution * self.channels
        pixels = slice(self._layout.pixels, self._layout.pixels + size)
        flat = np.empty((len(indices), size), dtype=np.uint8)
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            flat[mine] = self._records[owner][:, pixels][indices[mine] - self._starts[owner]]
        images = flat.reshape(len(indices), self.resolution, self.resolution, self.channels)
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int64 [len]; all 0 in a set without labels. Raises DataError where a shard holds something else."""
        if not self.classes:
            return np.zeros(len(self), dtype=np.int64)
        place = slice(self._layout.label, self._layout.label + self._layout.label_digits)
        powers = 10 ** np.arange(self._layout.label_digits - 1, -1, -1)
        parts = [(records[:, place].astype(np.int64) - ZERO) @ powers for records in self._records]
        for shard, part in zip(self._shards, parts, strict=True):
            if part.min() < 0 or part.max() >= len(self.classes):
                raise DataError(
                    f"{self.folder / shard.name}: damaged, it holds labels outside its {len(self.classes)} classes; {REMEDY}"
                )
        return np.concatenate(parts)

    def verify(self) -> None:
        """Checks each shard of this split against its sha256 and, for split "all", the content hash. Raises DataError."""
        for shard in self._shards:
            if sha256_file(self.folder / shard.name) != shard.sha256:
                raise DataError(f"{self.folder / shard.name}: damaged, its sha256 is not the manifest's; {REMEDY}")
        if self.split == "all" and self._hash() != self.content_hash:
            raise DataError(f"{self.folder}: the manifest's content_hash is not that of its images; it was edited: {REMEDY}")

    def _hash(self) -> str:
        total = ContentHash(self.resolution, self.channels, self.classes)
        first = 0
        for part in SPLITS:
            indices = np.arange(first, first + self.manifest.splits[part].count)
            digests = np.empty((len(indices), 32), dtype=np.uint8)
            for start in range(0, len(indices), VERIFY_IMAGES):
                images = self.images(indices[start : start + VERIFY_IMAGES]).transpose(0, 2, 3, 1)
                for offset, image in enumerate(images):
                    digests[start + offset] = np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8)
            total.add(part, digests, self.labels[indices])
            first += len(indices)
        return total.hexdigest()

    def _mapped(self, shard: Shard) -> np.ndarray:
        path = self.folder / shard.name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
        if size != shard.bytes or shard.count < 1 or size < shard.count * self._layout.stride:
            raise DataError(f"{path}: {size} bytes instead of {shard.bytes}, truncated or replaced; {REMEDY}")
        records = np.memmap(path, dtype=np.uint8, mode="r", shape=(shard.count, self._layout.stride))
        return records


class ContentHash:
    """sha256 over resolution, channels, classes, of each split its name, size, every image's sha256, the labels."""

    def __init__(self, resolution: int, channels: int, classes: list[str]) -> None:
        self._hash = hashlib.sha256(json.dumps([resolution, channels, classes], separators=(",", ":")).encode())

    def add(self, split: str, digests: np.ndarray, labels: np.ndarray) -> None:
        """Digests uint8 [N, 32] in the order of the split, labels [N] (zeros without classes)."""
        self._hash.update(f"\n{split} {len(digests)}\n".encode())
        self._hash.update(np.ascontiguousarray(digests).tobytes())
        self._hash.update(labels.astype("<i4").tobytes())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
