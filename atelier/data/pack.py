"""A source of images -> a packed dataset, whose bytes depend on the images and the settings alone.

Images stream through: the processed pixels go to a spill file, only their hashes and labels stay in memory. Sorting the hashes
fixes the order, finds the duplicates and makes the split; then the shards are written from the spill file in that order.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from atelier.data.arrange import Arrangement, Found
from atelier.data.errors import DataError
from atelier.data.manifest import FORMAT, NAME, ContentHash, Manifest, RejectedImage, Shard, SplitInfo
from atelier.data.process import Recipe
from atelier.data.shards import ShardWriter
from atelier.data.sources import Source, open_source
from atelier.data.work import process_all
from atelier.files import atomic_folder, atomic_write, canonical_json, check_output
from atelier.settings import DataSettings

SHOWN = 5  # rejected images that an error lists
LOCAL = ("folder", "zip", "idx", "parquet", "torchvision")  # sources that read data.path on this machine


def pack(settings: DataSettings, output: Path, workers: int = 0, progress: bool = True, section: str = "data") -> Manifest:
    """Packs the source that `settings` name into the folder `output`, which appears whole or not at all.

    An earlier packed set there is replaced, anything else is refused.
    workers: processes at most, 0 for as many as the container has cores; the bytes do not depend on it.
    section: the part of params.yaml that messages name (data or target).
    Raises DataError, StorageError or WriteError, naming the thing and the remedy.
    """
    recipe = Recipe(
        resolution=settings.resolution,
        channels=settings.channels,
        fit=settings.fit,
        margin=settings.margin,
        filter=settings.filter,
        background=settings.background,
        min_side=settings.min_side,
        max_pixels=settings.max_pixels,
        section=section,
    )
    _check_output(output, settings, section)
    source = open_source(settings, recipe)
    with atomic_folder(output, NAME) as folder, _spill(folder, recipe.pixel_bytes) as spill:
        found = _collect(source, recipe, spill, workers, progress)
        _check(found, settings, section)
        order = Arrangement(found, settings.labels and found.labelled, settings.holdout)
        if not len(order.rows["train"]):
            raise DataError(f"{section}.holdout {settings.holdout} leaves none of {order.count} images for training; lower it")
        if settings.labels and not order.classes:
            print(f"{section}: the source has no labels, the packed set has none either", file=sys.stderr)
        if len(order.classes) == 1:
            (only,) = order.classes
            print(f"{section}: one class only, {only!r}; is {section}.path the folder above the classes?", file=sys.stderr)
        if order.conflicts:
            print(
                f"{section}: {order.conflicts} images occur under several labels; the most frequent one was kept",
                file=sys.stderr,
            )
        writer = ShardWriter(folder, settings.resolution, settings.channels, len(order.classes), settings.shard_mib * 2**20)
        shards = _write(writer, order, spill, progress)
        manifest = _manifest(settings, source, found, order, writer, shards)
        atomic_write(folder / NAME, canonical_json(manifest.model_dump(mode="json")))
    return manifest


def _check_output(output: Path, settings: DataSettings, section: str) -> None:
    """Before any work: the output is a place for a packed set, apart from the images."""
    target = check_output(output, NAME)
    if settings.source.partition(":")[0] in LOCAL:
        images = Path(os.path.realpath(settings.path))
        if target == images or target in images.parents or images in target.parents:
            raise DataError(f"{output}: lies inside {section}.path {settings.path!r}, or around it; choose another output folder")


class _Spill:
    """Images in the order of their arrival in a file without a name, which vanishes with the process."""

    def __init__(self, folder: Path, pixel_bytes: int) -> None:
        self.pixel_bytes = pixel_bytes
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by _spill)

    def append(self, images: list[bytes]) -> None:
        self.file.write(b"".join(images))

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fills out, uint8 [n, bytes of an image]. Plain reads: a mapping of the whole file would count as memory in use."""
        for row, target in zip(rows.tolist(), out, strict=True):
            if os.preadv(self.file.fileno(), [target], row * self.pixel_bytes) != self.pixel_bytes:
                raise OSError("the spill file ended early")


@contextmanager
def _spill(folder: Path, pixel_bytes: int) -> Iterator[_Spill]:
    spill = _Spill(folder, pixel_bytes)
    with spill.file:
        yield spill


def _collect(source: Source, recipe: Recipe, spill: _Spill, workers: int, progress: bool) -> Found:
    found = Found()
    with tqdm(total=source.count, desc="pack", unit=" images", file=sys.stderr, disable=not progress, mininterval=0.5) as bar:
        for part in process_all(source, recipe, workers):
            spill.append(part.pixels)
            found.digests += b"".join(part.digests)
            for name, label in zip(part.names, part.labels, strict=True):
                if label is None:
                    found.unlabelled = name if found.unlabelled is None else min(name, found.unlabelled)
                found.labels.append(-1 if label is None else found.numbers.setdefault(label, len(found.numbers)))
            found.rejected += part.rejected
            bar.update(len(part))
    spill.file.flush()
    found.rejected.sort()
    return found


def _check(found: Found, settings: DataSettings, section: str) -> None:
    listed = "; ".join(f"{name}: {reason}" for name, reason in found.rejected[:SHOWN])
    more = f"; and {len(found.rejected) - SHOWN} more" if len(found.rejected) > SHOWN else ""
    if len(found.rejected) > settings.max_rejected:
        raise DataError(
            f"{len(found.rejected)} of {len(found.rejected) + len(found.labels)} images are rejected, more than "
            f"{section}.max_rejected = {settings.max_rejected} ({listed}{more}); mend or remove them, or raise that number"
        )
    if not found.labels:
        raise DataError(
            f"{section}.path {settings.path!r}: no image is left ({listed + more or 'the source is empty'}); correct the path"
        )
    if settings.labels and found.labelled and found.unlabelled is not None:
        raise DataError(
            f"{section}.labels is true and {found.unlabelled} has no label while others have; give it one (a file: move it into "
            f"a class folder), or set {section}.labels: false"
        )


def _write(writer: ShardWriter, order: Arrangement, spill: _Spill, progress: bool) -> list[Shard]:
    with tqdm(total=order.count, desc="write", unit=" images", file=sys.stderr, disable=not progress) as bar:
        return [
            shard
            for split, rows in order.rows.items()
            for shard in writer.write(split, rows, order.labels[split], spill.read, bar.update)
        ]


def _manifest(
    settings: DataSettings, source: Source, found: Found, order: Arrangement, writer: ShardWriter, shards: list[Shard]
) -> Manifest:
    content = ContentHash(settings.resolution, settings.channels, order.classes)
    splits = {}
    for split, labels in order.labels.items():
        content.add(split, order.digests[split], labels)
        counts = np.bincount(labels, minlength=len(order.classes)).tolist() if order.classes else []
        splits[split] = SplitInfo(count=len(labels), class_counts=counts)
    steps = ("labels", "fit", "margin", "filter", "background", "holdout", "min_side", "max_pixels")
    return Manifest(
        format=FORMAT,
        count=order.count,
        resolution=settings.resolution,
        channels=settings.channels,
        classes=order.classes,
        splits=splits,
        layout=writer.layout,
        shards=shards,
        source={"kind": source.kind, "description": source.description, "licence": settings.licence},
        processing={step: getattr(settings, step) for step in steps},
        duplicates=order.duplicates,
        label_conflicts=order.conflicts,
        rejected=[RejectedImage(name=name, reason=reason) for name, reason in found.rejected],
        content_hash=content.hexdigest(),
    )
