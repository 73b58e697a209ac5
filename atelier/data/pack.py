"""A source of images -> a packed dataset, whose bytes depend on the images and the settings alone.

Images stream through: the processed pixels go to a file, only their hashes and labels stay in memory. Sorting the hashes fixes
the order, finds the duplicates and makes the split; then the shards are written from the file in that order.

`pack` does it all. `pack_part` does the first half for one share of the source, and `merge` the second half from all shares.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from atelier.config.data import DataSettings
from atelier.data import parts as stored
from atelier.data.arrange import Arrangement, Found
from atelier.data.errors import DataError
from atelier.data.fields import record_fields
from atelier.data.manifest import (
    ANNOTATED,
    FORMATS,
    NAME,
    ContentHash,
    FieldInfo,
    Manifest,
    RejectedImage,
    Shard,
    SplitInfo,
    Table,
)
from atelier.data.pixels import PixelFile, Pixels
from atelier.data.process import WHOLE, Recipe, RecordField
from atelier.data.shards import RowsByDigest, ShardWriter, picture_file, rows_file
from atelier.data.sources import Source, open_source
from atelier.data.tables import bring_encoders, write_table
from atelier.data.whole_shards import WholeWriter, lengths_of, whole_fields
from atelier.data.work import process_all
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_output
from atelier.io.label_maps import distinct, hexadecimal
from atelier.io.progress import bar

SHOWN = 5  # rejected images that an error lists
LOCAL = ("folder", "zip", "idx", "parquet", "webdataset", "lmdb", "torchvision")  # sources that read a path on this machine


def pack(settings: DataSettings, output: Path, workers: int = 0, progress: bool = True, section: str = "data") -> Manifest:
    """Packs the source that `settings` name into the folder `output`, which appears whole or not at all.

    An earlier packed set there is replaced, anything else is refused.
    workers: processes at most, 0 for as many as the container has cores; the bytes do not depend on it.
    section: the part of params.yaml that messages name (data or target).
    Raises DataError, StorageError or WriteError, naming the thing and the remedy.
    """
    recipe = _recipe(settings, section)
    _check_output(output, NAME, _images(settings, section))
    bring_encoders(recipe.fields, section)
    return pack_source(open_source(settings, recipe), settings, output, workers, progress, section)


def pack_source(
    source: Source, settings: DataSettings, output: Path, workers: int = 0, progress: bool = True, section: str = "data"
) -> Manifest:
    """Packs a source that is open already, whatever the settings say of where it is; the rest is as in `pack`."""
    recipe = _recipe(settings, section)
    with atomic_folder(output, NAME) as folder, tempfile.TemporaryFile(dir=folder) as spill:
        found = _collect(source, range(source.count), recipe, spill, workers, progress)
        pixels = _pixels([PixelFile("the spill file", spill, len(found.labels))], recipe.pixel_bytes, found, settings)
        return _write_set(folder, settings, section, source, found, pixels, progress)


def pack_part(
    settings: DataSettings,
    part: int,
    parts: int,
    output: Path,
    workers: int = 0,
    progress: bool = True,
    section: str = "data",
) -> stored.PartInfo:
    """Processes part 1 … `parts` of the source into the folder `output`, for `merge`; the rest is as in `pack`.

    A part may be empty. It fails by itself when more of its images are rejected than the whole set may have.
    """
    recipe = _recipe(settings, section)
    _check_output(output, stored.NAME, _images(settings, section))
    source = open_source(settings, recipe)
    share = stored.share_of(source, part, parts)
    with atomic_folder(output, stored.NAME) as folder:
        with (folder / stored.PIXELS).open("wb") as file:
            found = _collect(source, share, recipe, file, workers, progress)
        _check_rejected(found, settings, section)
        return stored.save_part(folder, settings, source, part, parts, found, recipe.pixel_bytes)


def merge(settings: DataSettings, folders: list[Path], output: Path, progress: bool = True, section: str = "data") -> Manifest:
    """Packs all parts of a source, in any order: the same bytes as `pack` writes. The source itself is not read."""
    _check_output(output, NAME, {f"the part {folder}": folder for folder in folders})
    parts = stored.load_parts(folders, settings, section)
    bring_encoders(record_fields(settings), section)
    found = Found()
    for part in parts:
        found.join(part.found)
    with contextlib.ExitStack() as stack:
        files = [PixelFile(str(part.pixels), stack.enter_context(part.pixels.open("rb")), part.info.count) for part in parts]
        pixels = _pixels(files, parts[0].info.pixel_bytes, found, settings)
        folder = stack.enter_context(atomic_folder(output, NAME))
        return _write_set(folder, settings, section, parts[0].info.source, found, pixels, progress)


def _recipe(settings: DataSettings, section: str) -> Recipe:
    return Recipe(
        resolution=settings.resolution,
        channels=settings.channels,
        fit=settings.fit,
        margin=settings.margin,
        filter=settings.filter,
        background=settings.background,
        min_side=settings.min_side,
        max_pixels=settings.max_pixels,
        section=section,
        fields=record_fields(settings),
        group_by=settings.group_by,
    )


def _pixels(files: list[PixelFile], pixel_bytes: int, found: Found, settings: DataSettings) -> Pixels:
    lengths = lengths_of(found.sizes, whole_fields(settings)) if settings.fit == WHOLE else None
    return Pixels(files, pixel_bytes, found.digests, lengths)


def _images(settings: DataSettings, section: str) -> dict[str, Path]:
    """What the source reads on this machine, by its name in messages."""
    local = settings.source.partition(":")[0] in LOCAL
    return {f"{section}.path {settings.path!r}": Path(settings.path)} if local else {}


def _check_output(output: Path, marker: str, inputs: dict[str, Path]) -> None:
    """Before any work: the output is a place for such a folder, apart from what is read."""
    target = check_output(output, marker)
    for name, path in inputs.items():
        read = Path(os.path.realpath(path))
        if target == read or target in read.parents or read in target.parents:
            raise DataError(f"{output}: lies inside {name}, or around it; choose another output folder")


def _collect(source: Source, share: range, recipe: Recipe, file: IO[bytes], workers: int, progress: bool) -> Found:
    """Processes the images at the positions `share`: their pixels go to the file."""
    found = Found()
    with bar("pack", len(share), progress) as shown:
        for done in process_all(source, recipe, share, workers):
            file.writelines(done.pixels)
            found.digests += b"".join(done.digests)
            for name, digest, family in zip(done.names, done.digests, done.families, strict=True):
                found.belongs(name, digest, family)
            for name, label in zip(done.names, done.labels, strict=True):
                if label is None:
                    found.lacks_label(name)
                found.labels.append(-1 if label is None else found.numbers.setdefault(label, len(found.numbers)))
            found.held_out += bytes(done.held_out)
            found.annotate(done.annotations)
            found.sizes.extend(side for size in done.sizes for side in size)
            found.rejected += done.rejected
            found.profiles += done.profiles
            found.broken_profiles += done.broken_profiles
            shown.update(len(done))
    file.flush()
    found.rejected.sort()
    return found


def _check(found: Found, settings: DataSettings, section: str) -> None:
    _check_rejected(found, settings, section)
    if not found.labels:
        raise DataError(
            f"{section}.path {settings.path!r}: no image is left ({_listed(found) or 'the source is empty'}); correct the path"
        )
    if settings.group_by is not None and not found.grouped:
        raise DataError(
            f"{section}.group_by {settings.group_by!r} is found in no name, such as {found.ungrouped}; correct it, or take it out"
        )
    if settings.labels and found.labelled and found.unlabelled is not None:
        raise DataError(
            f"{section}.labels is true and {found.unlabelled} has no label while others have; give it one (a file: move it into "
            f"a class folder), or set {section}.labels: false"
        )


def _check_rejected(found: Found, settings: DataSettings, section: str) -> None:
    if len(found.rejected) > settings.max_rejected:
        raise DataError(
            f"{len(found.rejected)} of {len(found.rejected) + len(found.labels)} images are rejected, more than "
            f"{section}.max_rejected = {settings.max_rejected} ({_listed(found)}); mend or remove them, or raise that number"
        )


def _listed(found: Found) -> str:
    more = f"; and {len(found.rejected) - SHOWN} more" if len(found.rejected) > SHOWN else ""
    return "; ".join(f"{name}: {reason}" for name, reason in found.rejected[:SHOWN]) + more


def _write_set(
    folder: Path,
    settings: DataSettings,
    section: str,
    source: Source | stored.Origin,
    found: Found,
    pixels: Pixels,
    progress: bool,
) -> Manifest:
    """Checks and arranges what was found, and writes shards and manifest."""
    _check(found, settings, section)
    order = Arrangement(found, settings.labels and found.labelled, settings.holdout, settings.split == "given")
    if not len(order.rows["train"]) and order.shared:
        raise DataError(f"{section}.split: given leaves no image for training: each of them is also among those held out")
    if not len(order.rows["train"]):
        raise DataError(f"{section}.holdout {settings.holdout} leaves none of {order.count} images for training; lower it")
    for remark in _remarks(settings, section, source, found, order):
        print(f"{section}: {remark}", file=sys.stderr)
    fields = record_fields(settings)
    made = {one.name: write_table(folder, one, found.annotations[one.name], section) for one in fields if one.annotated}
    tables = {name: table for name, (table, _) in made.items()}
    writer = _writer(folder, settings, found, len(order.classes), {name: rows for name, (_, rows) in made.items()}, tables)
    shards = _write(writer, order, pixels, progress)
    described = {}
    if len(fields) > 1:
        described = {one.name: _described(one, writer.places[one.name], tables.get(one.name)) for one in fields}
    manifest = _manifest(settings, source, found, order, writer, shards, described)
    atomic_write(folder / NAME, canonical_json(manifest.written()))
    return manifest


def _writer(
    folder: Path,
    settings: DataSettings,
    found: Found,
    classes: int,
    rows: Mapping[str, RowsByDigest],
    tables: Mapping[str, Table],
) -> ShardWriter | WholeWriter:
    most = settings.shard_mib * 2**20
    if settings.fit == WHOLE:
        sizes = np.array(found.sizes, dtype=np.int64).reshape(-1, 2)
        return WholeWriter(folder, whole_fields(settings), sizes, classes, most)
    files = {
        one.name: rows_file(tables[one.name].most) if one.annotated else picture_file(settings.resolution, one.channels)
        for one in record_fields(settings)
    }
    return ShardWriter(folder, files, classes, most, rows)


def _remarks(
    settings: DataSettings, section: str, source: Source | stored.Origin, found: Found, order: Arrangement
) -> Iterator[str]:
    """What people should know of the set beside its numbers."""
    facts = source.facts
    if around := facts.get("around"):
        yield f"all images lie in {around}, which was looked through"
    if not_read := facts.get("not_read"):
        yield f"files in no field's folder, which are not read: {not_read}"
    if settings.split == "given" and "training" in facts:
        yield f"the source's own split is used: {facts['training']} for training, {facts['held_out']} held out"
    if settings.split == "pool" or (settings.split == "draw" and "training" in facts):
        yield f"the source's own split ({facts['training']}; {facts['held_out']}) is pooled and drawn anew"
    if order.shared:
        yield f"images both among those for training and those held out, which are held out: {order.shared}"
    if settings.group_by is not None and found.ungrouped is not None:
        alone = len(found.labels) - found.grouped
        yield f"records in no family of group_by, each of which is split by itself: {alone}, first {found.ungrouped}"
    if settings.labels and not order.classes:
        yield "the source has no labels, the packed set has none either"
    if len(order.classes) == 1:
        (only,) = order.classes
        yield f"one class only, {only!r}; if it is no class, set {section}.labels: false"
    if order.conflicts:
        yield f"images under several labels, of which the most frequent one was kept: {order.conflicts}"
    if found.profiles:
        names = ", ".join(f"{count} of {name}" for name, count in sorted(found.profiles.items()))
        yield f"images converted to sRGB by their color profile: {found.profiles.total()} ({names})"
    if found.broken_profiles:
        yield f"images whose color profile is damaged or of another kind than they, and was ignored: {found.broken_profiles}"


def _write(writer: ShardWriter | WholeWriter, order: Arrangement, pixels: Pixels, progress: bool) -> list[Shard]:
    shards: list[Shard] = []
    with bar("write", order.count, progress) as shown:
        for split, rows in order.rows.items():
            if isinstance(writer, WholeWriter):
                shards += writer.write(split, rows, order.labels[split], pixels.one, shown.update)
            else:
                shards += writer.write(split, rows, order.labels[split], pixels.read, shown.update)
    return shards


def _described(field: RecordField, pixels: int, table: Table | None) -> FieldInfo:
    """What the manifest says of a field. Classes that are known by values get colors for people to tell them apart."""
    if table:
        return FieldInfo(kind="text" if field.kind == "text" else "sound", channels=0, pixels=pixels, table=table)
    if field.legend is None:
        return FieldInfo(channels=field.channels, pixels=pixels, scale=field.scale)
    names, marks = field.legend.names, field.legend.marks
    colors = [hexadecimal(color) for color in (distinct(len(names)) if field.legend.indexed else marks)]
    return FieldInfo(kind="map", classes=list(names), colors=colors, channels=1, pixels=pixels)


def _manifest(
    settings: DataSettings,
    source: Source | stored.Origin,
    found: Found,
    order: Arrangement,
    writer: ShardWriter | WholeWriter,
    shards: list[Shard],
    fields: dict[str, FieldInfo],
) -> Manifest:
    whole = settings.fit == WHOLE
    content = ContentHash(settings.resolution, settings.channels, order.classes, fields, whole)
    splits = {}
    for split, labels in order.labels.items():
        content.add(split, order.digests[split], labels)
        counts = np.bincount(labels, minlength=len(order.classes)).tolist() if order.classes else []
        splits[split] = SplitInfo(count=len(labels), class_counts=counts)
    chosen = {key: value for key, value in settings.plain().items() if key in ("fields", "group_by") and value}
    steps = ("labels", "split", "fit", "margin", "filter", "background", "holdout", "min_side", "max_pixels")
    return Manifest(
        format=ANNOTATED if found.annotations else FORMATS[2 if whole else bool(fields)],
        fields=fields,
        count=order.count,
        resolution=settings.resolution,
        channels=settings.channels,
        classes=order.classes,
        splits=splits,
        layout=writer.layout,
        shards=shards,
        source={"kind": source.kind, "description": source.description, "licence": settings.licence, **source.facts},
        processing={step: getattr(settings, step) for step in steps} | chosen,
        duplicates=order.duplicates,
        label_conflicts=order.conflicts,
        split_conflicts=order.shared,
        profiles=dict(found.profiles),
        broken_profiles=found.broken_profiles,
        rejected=[RejectedImage(name=name, reason=reason) for name, reason in found.rejected],
        content_hash=content.hexdigest(),
    )
