"""A packed dataset: images by index, straight from memory-mapped shards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from atelier.data.crops import Crops, Places
from atelier.data.errors import REMEDY, DataError
from atelier.data.manifest import SPLITS, Manifest, Shard, imitated, load_manifest
from atelier.data.shards import ROW_BYTES, ZERO, layout_of, picture_file, rows_file
from atelier.data.tables import Tables, as_rows, chosen
from atelier.data.whole import WholePictures, whole_layout
from atelier.io.files import sha256_file


class PackedDataset:
    """One split of a packed dataset, or all of it (train, then test). Records stay on disk and are mapped, not loaded.

    `fields` are what a record holds, by name: one image, or several pictures, of which `images` and `channels` are the one that
    is imitated.

    A set of `whole` pictures (data.NAME.fit: whole) is read in squares. `len`, `labels` and all indices count those which the
    pictures of the split count as, see atelier.data.crops; `read` and `images` give the windows of these indices, of `resolution`
    pixels, which no randomness moves, and `crops` others. Fields have sides of `resolution // field.scale`. `pictures` is the
    number of whole pictures, and `picture` one of them.

    Each shard is checked against its sha256 first, at about 2 s for a GB, since results carry the set's content hash. Raises
    DataError, naming file and remedy, for a missing or broken manifest, a missing or damaged shard, and an empty split.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        if split not in (*SPLITS, "all"):
            raise DataError(f"no split {split!r}; choose train, test or all")
        self.folder = Path(folder)
        self.split = split
        self.manifest: Manifest = load_manifest(self.folder)
        self.fields = self.manifest.records
        self.resolution = self.manifest.resolution
        self.channels = self.manifest.channels
        self.classes = self.manifest.classes
        self.content_hash = self.manifest.content_hash
        self.whole = self.manifest.whole
        self._layout = self.manifest.layout
        self._tables = Tables(self.folder, self.fields)
        self._check_layout()
        chosen = [part for part in SPLITS if split in (part, "all")]
        self._shards = [shard for part in chosen for shard in self.manifest.shards if shard.split == part]
        with ThreadPoolExecutor() as threads:
            self._records = list(threads.map(self._mapped, self._shards))
        self._starts = np.cumsum([0] + [shard.count for shard in self._shards])
        self.pictures = int(self._starts[-1])
        expected = sum(self.manifest.splits[part].count for part in chosen)
        if self.pictures != expected:
            raise DataError(
                f"{self.folder}: the shards hold {self.pictures} images of split {split!r}, the manifest {expected}; {REMEDY}"
            )
        if not expected:
            raise DataError(f"{self.folder}: its split {split!r} is empty; raise data.NAME.holdout and pack again")
        self._whole = WholePictures(self.folder, self._records, self._shards, self.manifest) if self.whole else None

    def _check_layout(self) -> None:
        places = {name: field.pixels for name, field in self.fields.items()}
        classes = len(self.classes)
        files = {
            name: rows_file(field.table.most) if field.table else picture_file(self.resolution, field.channels)
            for name, field in self.fields.items()
        }
        expected = whole_layout(list(places), classes) if self.whole else layout_of(files, classes)
        if (self._layout, places) != expected:
            raise DataError(f"{self.folder}: the manifest's layout does not fit its resolution, channels and classes; {REMEDY}")

    @property
    def background(self) -> str:
        """The color (#rrggbb) under what was transparent in its pictures."""
        return str(self.manifest.processing["background"]).lower()

    def __len__(self) -> int:
        return self.pictures if self._whole is None else len(self._whole.grid)

    def images(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices, uint8 [N, C, H, W]. Raises IndexError outside 0 … len - 1."""
        return self._read(imitated(self.fields), self._checked(indices))

    def read(self, indices: np.ndarray, words: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The records at these indices by field: pictures uint8 [N, C, H, W]; captions and recordings as in `annotations`.

        Raises IndexError outside 0 … len - 1.
        """
        return self.read_pictures(indices) | self.annotations(indices, words)

    def read_pictures(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The pictures and maps of the records, each uint8 [N, C, H, W]."""
        indices = self._checked(indices)
        return {name: self._read(name, indices) for name, field in self.fields.items() if not field.table}

    def annotations(self, indices: np.ndarray, words: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """One caption and recording of each record by field, float32 [N, *shape] as the field's table says.

        It is the one that random `words`, uint64 [N, 4], choose (atelier.data.sampler.words), or the first.
        """
        indices = self._checked(indices)
        return {
            name: self._tables.values(name, chosen(self.rows(name, indices), None if words is None else words[:, place]))
            for place, name in enumerate(name for name, field in self.fields.items() if field.table)
        }

    def entries(self, name: str) -> np.ndarray:
        """All captions or recordings of the records, of a field of these, each once: float32 [M, *shape] as its table says."""
        rows = np.unique(self.rows(name, np.arange(len(self))))
        return self._tables.values(name, rows[rows >= 0])

    def texts(self, name: str, indices: np.ndarray) -> list[list[str]]:
        """All captions of the records at these indices, of a field of texts."""
        return self._tables.texts(name, self.rows(name, self._checked(indices)))

    def rows(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Which entries of a field's table are those of the records, int32 [N, most], with -1 behind them."""
        table = self.fields[name].table
        assert table
        return as_rows(self._bytes(name, indices, ROW_BYTES * table.most))

    def crops(self, indices: np.ndarray, words: np.ndarray, cut: Crops) -> dict[str, np.ndarray]:
        """Crops of whole pictures by field, each uint8 [N, C, side // scale, side // scale]: see atelier.data.crops.

        `words` uint64 [N, 4] are the random ones of the positions at which these indices stand (atelier.data.sampler.words).
        Raises DataError where the set has no such crops, IndexError outside 0 … len - 1.
        """
        pictures = self._pictures()
        side = self._side(cut)
        places = pictures.grid.drawn(self._checked(indices), words, side)
        return {name: pictures.read(name, places, side, words[:, 2], cut) for name in self.fields}

    def middles(self, indices: np.ndarray, cut: Crops) -> dict[str, np.ndarray]:
        """The middle of the windows at these indices by field, as large as the crops of training; nothing is random."""
        pictures = self._pictures()
        side = self._side(cut)
        places = pictures.grid.windows(self._checked(indices), side)
        return {name: pictures.read(name, places, side) for name in self.fields}

    def picture(self, number: int) -> dict[str, np.ndarray]:
        """Whole picture 0 … pictures - 1 by field, each uint8 [C, H // scale, W // scale], mapped, not loaded."""
        return {name: self._pictures().pixels(name, number).transpose(2, 0, 1) for name in self.fields}

    def places(self, indices: np.ndarray) -> Places:
        """The whole pictures that the windows at these indices are of, and their upper left corners."""
        return self._pictures().grid.windows(self._checked(indices), self.resolution)

    def _pictures(self) -> WholePictures:
        if self._whole is None:
            raise DataError(f"{self.folder}: its images are squares already; pack whole pictures with data.NAME.fit: whole")
        return self._whole

    def check_crops(self, cut: Crops) -> None:
        """Raises DataError where the set has no such crops."""
        self._side(cut)

    def _side(self, cut: Crops) -> int:
        side, unit = cut.side or self.resolution, self._pictures().grid.unit
        if not 0 < side <= self.resolution or side % unit:
            raise DataError(
                f"{self.folder}: crops of {side} px do not fit: its pictures have sides from {self.resolution} px on, and its "
                f"fields need multiples of {unit}; choose others, or pack with another data.NAME.resolution"
            )
        return side

    def _checked(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, dtype=np.int64)
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"image indices {indices.min()} … {indices.max()} of a set of {len(self)}")
        return indices

    def _read(self, name: str, indices: np.ndarray) -> np.ndarray:
        if self._whole is not None:
            return self._whole.read(name, self._whole.grid.windows(indices, self.resolution), self.resolution)
        side, channels = self.resolution, self.fields[name].channels
        flat = self._bytes(name, indices, side * side * channels)
        return np.ascontiguousarray(flat.reshape(len(indices), side, side, channels).transpose(0, 3, 1, 2))

    def _bytes(self, name: str, indices: np.ndarray, size: int) -> np.ndarray:
        """What a field has in the records, uint8 [N, size]."""
        place = self.fields[name].pixels
        flat = np.empty((len(indices), size), dtype=np.uint8)
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        for owner in np.unique(owners):
            mine = owners == owner
            content = self._records[owner][:, place : place + size]
            flat[mine] = content[indices[mine] - self._starts[owner]]
        return flat

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int64 [len]; all 0 in a set without labels. Raises DataError where a shard holds something else."""
        if not self.classes:
            return np.zeros(len(self), dtype=np.int64)
        if self._whole is not None:
            return self._whole.labels()
        place = slice(self._layout.label, self._layout.label + self._layout.label_digits)
        powers = 10 ** np.arange(self._layout.label_digits - 1, -1, -1)
        # Mapped anew and let go: each label lies on a page of its own, so that in the end the whole set would count as memory.
        parts = [(self._map(shard)[:, place].astype(np.int64) - ZERO) @ powers for shard in self._shards]
        for shard, part in zip(self._shards, parts, strict=True):
            if part.min() < 0 or part.max() >= len(self.classes):
                raise DataError(
                    f"{self.folder / shard.name}: damaged, it holds labels outside its {len(self.classes)} classes; {REMEDY}"
                )
        return np.concatenate(parts)

    def _map(self, shard: Shard) -> np.ndarray:
        """The records of a shard, uint8 [count, stride]; of whole pictures all its bytes."""
        shape = shard.bytes if self.whole else (shard.count, self._layout.stride)
        return np.memmap(self.folder / shard.name, dtype=np.uint8, mode="r", shape=shape)

    def _mapped(self, shard: Shard) -> np.ndarray:
        path = self.folder / shard.name
        try:
            size = path.stat().st_size
            if size != shard.bytes or size < shard.count * self._layout.stride:
                raise DataError(f"{path}: {size} bytes instead of {shard.bytes}, truncated or replaced; {REMEDY}")
            if sha256_file(path) != shard.sha256:
                raise DataError(f"{path}: damaged, its sha256 is not the manifest's; {REMEDY}")
            return self._map(shard)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
