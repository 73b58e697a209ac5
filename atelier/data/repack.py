"""A packed set of images that are in memory: part of another set, or images that were made beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import NAME, Manifest
from atelier.data.pack import pack_source
from atelier.data.packed import PackedDataset
from atelier.data.sources.base import Item, ListSource
from atelier.io.files import atomic_folder, atomic_write, canonical_json


class Labelled(NamedTuple):
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def at(self, indices: np.ndarray) -> Labelled:
        """Those at these indices, in this order."""
        return Labelled(self.images[indices], self.labels[indices])

    def and_(self, other: Labelled) -> Labelled:
        """These, and the others behind them."""
        return Labelled(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))


def labelled(dataset: PackedDataset) -> Labelled:
    """All images of a split with their classes.

    Raises DataError for a set that has no classes, or whose records are more than one image.
    """
    if len(dataset.classes) < 2 or dataset.whole or len(dataset.fields) > 1:
        raise DataError(
            f"{dataset.folder}: this is for square images of two classes or more; give such a set, packed with "
            "data.NAME.labels: true"
        )
    return Labelled(dataset.images(np.arange(len(dataset))), dataset.labels)


class Memory(ListSource):
    """Images in memory as a source: those for training, then those held out."""

    kind, description = "memory", "images in memory"

    def __init__(self, training: Labelled, held_out: Labelled | None, classes: list[str]) -> None:
        self._all = training if held_out is None else training.and_(held_out)
        self._training, self._classes = len(training.labels), classes
        self.count = len(self._all.labels)

    def listing(self) -> Iterator[tuple[str, int]]:
        yield self.kind, self.count

    def chunks(self, images: int, share: range) -> Iterator[list[Item]]:
        for first in share[::images]:
            yield [self._item(number) for number in range(first, min(first + images, share.stop))]

    def _item(self, number: int) -> Item:
        pixels = self._all.images[number].transpose(1, 2, 0)
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
        return Item(f"{number:06}", picture, self._classes[self._all.labels[number]], number >= self._training)


def repack(
    like: PackedDataset,
    training: Labelled,
    held_out: Labelled | None,
    output: Path,
    source: Mapping[str, str],
    said: Callable[[PackedDataset], Mapping[str, str]] | None = None,
) -> Manifest:
    """Packs images of the size and classes of `like` into the folder `output`, which appears whole or not at all.

    `source` is what the manifest says of them beside the source of `like`, `said` gives the text of files beside the shards, by
    name, from the packed training images. Equal images are kept once; one that is also held out is left out of training. Pixels
    are kept as they are. Raises DataError, WriteError.
    """
    kept = like.manifest.processing
    settings = DataSettings(
        source="folder",
        path=Memory.description,
        licence=like.manifest.source["licence"],
        labels=True,
        resolution=like.resolution,  # type: ignore[arg-type] # one that a set was packed with
        channels=like.channels,  # type: ignore[arg-type]
        fit="stretch",
        margin=0,
        filter=kept["filter"],
        background=kept["background"],
        split="given",
        holdout=0.0,
    )
    packed_from = Memory(training, held_out, like.classes)
    with atomic_folder(output, NAME) as aside:
        made = pack_source(packed_from, settings, aside / "packed", workers=1, progress=False)
        if made.classes != like.classes:
            raise DataError(
                f"{output}: of the classes {', '.join(like.classes)} there are images of {', '.join(made.classes)} only"
            )
        manifest = made.model_copy(update={"source": like.manifest.source | dict(source), "processing": kept})
        for file in sorted((aside / "packed").iterdir()):
            file.rename(aside / file.name)
        (aside / "packed").rmdir()
        atomic_write(aside / NAME, canonical_json(manifest.written()))
        for name, text in (said(PackedDataset(aside)) if said else {}).items():
            atomic_write(aside / name, text)
    return manifest
