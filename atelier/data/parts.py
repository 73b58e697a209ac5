"""A part of a set that is being packed: what became of one share of the source, in a folder that can travel.

part.json   which part of how many, of which source, by which settings; class names; rejected images; hashes of the next four
digests     sha256 of each accepted image, 32 bytes each
labels      the position of its class name in part.json, int32 little-endian; -1 without a label
families    the first 8 bytes of the hash of its family, or of its own without one
held_out    1 where the source itself keeps it out of training, else 0; a byte each
sizes       of whole pictures the width and the height of each, int32 little-endian; else there is none
annotations of captions and recordings the entries and the lists of each field, see atelier.data.annotations; else there is none
pixels      the processed records in the order of the source: of each its fields in order, uint8 [H, W, C], of a whole picture
            behind a line with its size
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from atelier.config.data import DataSettings
from atelier.data.annotations import Annotations
from atelier.data.arrange import FAMILY_BYTES, Found
from atelier.data.errors import DataError
from atelier.data.manifest import Record, RejectedImage, load_record
from atelier.data.pixels import DIGEST_BYTES
from atelier.data.sources import Source
from atelier.data.whole import WholeFields
from atelier.data.whole_shards import lengths_of, whole_fields
from atelier.io.files import atomic_write, canonical_json, read_json, sha256_file

FORMAT = 3
NAME, DIGESTS, LABELS, FAMILIES, HELD_OUT, SIZES, ANNOTATIONS, PIXELS = (
    "part.json", "digests", "labels", "families", "held_out", "sizes", "annotations", "pixels",
)  # fmt: skip
SIDE_BYTES = 4
# Settings that a part does not depend on: where the source lies on this machine, and what the merge alone does.
FREE = {"path", "licence", "holdout", "max_rejected", "shard_mib"}


class Origin(Record):
    """The source of a part; the fingerprint is that of its listing."""

    kind: str
    description: str
    count: NonNegativeInt
    fingerprint: str
    facts: dict[str, str]


class PartInfo(Record):
    """part.json. Labels are positions in `classes`; `unlabelled` is the first name of an image without a label.

    `grouped` counts the records with a family; `ungrouped` is the first name of one without. `pixel_bytes` are those of each
    record, 0 of whole pictures, whose sizes say it.
    """

    format: int
    part: PositiveInt
    parts: PositiveInt
    source: Origin
    settings: dict[str, Any]
    count: NonNegativeInt
    pixel_bytes: NonNegativeInt
    classes: list[str]
    unlabelled: str | None
    grouped: NonNegativeInt
    ungrouped: str | None
    rejected: list[RejectedImage]
    profiles: dict[str, PositiveInt]
    broken_profiles: NonNegativeInt
    sha256: dict[str, str]

    def __str__(self) -> str:
        return f"part {self.part} of {self.parts}"


@dataclass(frozen=True)
class Part:
    """A part that was read, but for its pixels."""

    folder: Path
    info: PartInfo
    found: Found

    @property
    def pixels(self) -> Path:
        return self.folder / PIXELS


def share_of(source: Source, part: int, parts: int) -> range:
    """The positions of part 1 … `parts` in the source: all parts in turn are the whole, their sizes differ by one at most.

    Raises DataError where there is no such part.
    """
    if not 1 <= part <= parts:
        raise DataError(f"part {part} of {parts}: there is no such part; choose part I of N with 1 <= I <= N")
    return range(source.count * (part - 1) // parts, source.count * part // parts)


def save_part(
    folder: Path, settings: DataSettings, source: Source, part: int, parts: int, found: Found, pixel_bytes: int
) -> PartInfo:
    """Completes the folder of a part, which holds its pixels already."""
    (folder / DIGESTS).write_bytes(found.digests)
    (folder / LABELS).write_bytes(np.frombuffer(found.labels, np.int32).astype("<i4").tobytes())
    (folder / FAMILIES).write_bytes(found.families)
    (folder / HELD_OUT).write_bytes(found.held_out)
    names = [DIGESTS, LABELS, FAMILIES, HELD_OUT]
    if not pixel_bytes:
        (folder / SIZES).write_bytes(np.frombuffer(found.sizes, np.int32).astype("<i4").tobytes())
        names.append(SIZES)
    if found.annotations:
        plain = {name: one.plain() for name, one in found.annotations.items()}
        atomic_write(folder / ANNOTATIONS, canonical_json(plain))
        names.append(ANNOTATIONS)
    info = PartInfo(
        format=FORMAT,
        part=part,
        parts=parts,
        source=Origin(
            kind=source.kind,
            description=source.description,
            count=source.count,
            fingerprint=source.fingerprint(),
            facts=dict(source.facts),
        ),
        settings=_processing(settings),
        count=len(found.labels),
        pixel_bytes=pixel_bytes,
        classes=list(found.numbers),
        unlabelled=found.unlabelled,
        grouped=found.grouped,
        ungrouped=found.ungrouped,
        rejected=[RejectedImage(name=name, reason=reason) for name, reason in found.rejected],
        profiles=dict(found.profiles),
        broken_profiles=found.broken_profiles,
        sha256={name: sha256_file(folder / name) for name in names},
    )
    atomic_write(folder / NAME, canonical_json(info.model_dump(mode="json")))
    return info


def load_parts(folders: list[Path], settings: DataSettings, section: str) -> list[Part]:
    """Reads all parts of one source, given in any order.

    Raises DataError where one is missing, doubled, damaged, or was made by other settings, another division or of another source.
    """
    remedy = f"make it with `python -m components.prepare --section {section} --part I/N`"
    infos = [(folder, load_record(folder / NAME, PartInfo, (FORMAT,), "part of a set", remedy)) for folder in map(Path, folders)]
    _check_division(infos, section)
    for folder, info in infos:
        _check_belongs(folder, info, infos[0], settings, section)
    return [_load(folder, info, whole_fields(settings)) for folder, info in infos]


def _processing(settings: DataSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude=FREE)


def _check_division(infos: list[tuple[Path, PartInfo]], section: str) -> None:
    if not infos:
        raise DataError("no parts to merge; name the folders of all of them")
    place, first = infos[0]
    seen: dict[int, Path] = {}
    for folder, info in infos:
        if info.parts != first.parts:
            raise DataError(f"{folder} is {info}, but {place} is {first}; give the parts of one division only")
        if info.part in seen:
            raise DataError(f"{folder} and {seen[info.part]} are both {info}; give each part once")
        seen[info.part] = folder
    for part in range(1, first.parts + 1):
        if part not in seen:
            raise DataError(
                f"part {part} of {first.parts} is missing; give its folder too, or make it with `python -m components.prepare "
                f"--section {section} --part {part}/{first.parts}`"
            )


def _check_belongs(folder: Path, info: PartInfo, first: tuple[Path, PartInfo], settings: DataSettings, section: str) -> None:
    wanted = _processing(settings)
    for key in sorted(wanted.keys() | info.settings.keys()):
        made, now = info.settings.get(key), wanted.get(key)
        if made != now:
            raise DataError(
                f"{folder}: made with {section}.{key} {made!r:.200}, but it is {now!r:.200} now; prepare this part again, or set "
                "it back"
            )
    if info.source != first[1].source:
        raise DataError(
            f"{folder}: its source had {info.source.count} images, and {first[0]} saw other ones ({first[1].source.count}): the "
            "source changed in between; prepare all parts again"
        )


def _annotations(path: Path, info: PartInfo) -> dict[str, Annotations]:
    try:
        if sha256_file(path) == info.sha256[ANNOTATIONS]:
            return {name: Annotations.of_plain(values) for name, values in read_json(path).items()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions, or prepare {info} again") from error
    raise DataError(f"{path}: damaged, it is not what was written there; prepare {info} again")


def _load(folder: Path, info: PartInfo, fields: WholeFields) -> Part:
    found = Found()
    each = {DIGESTS: DIGEST_BYTES, LABELS: 4, FAMILIES: FAMILY_BYTES, HELD_OUT: 1}
    if not info.pixel_bytes:
        each[SIZES] = 2 * SIDE_BYTES
    for name, size in (each | {PIXELS: info.pixel_bytes}).items():
        path = folder / name
        try:
            if name == PIXELS:  # which are checked when they are read, image by image
                found.sizes = array("i", np.fromfile(folder / SIZES, "<i4").tolist() if SIZES in each else [])
                expected = info.count * size or int(lengths_of(found.sizes, fields).sum())
                intact = path.stat().st_size == expected
            else:
                intact = path.stat().st_size == info.count * size and sha256_file(path) == info.sha256.get(name)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); check its permissions, or prepare {info} again"
            ) from error
        if not intact:
            raise DataError(f"{path}: damaged, it is not what was written there; prepare {info} again")
    if ANNOTATIONS in info.sha256:
        found.annotate(_annotations(folder / ANNOTATIONS, info))
    found.digests += (folder / DIGESTS).read_bytes()
    found.labels = array("i", np.fromfile(folder / LABELS, "<i4").tolist())
    found.held_out += (folder / HELD_OUT).read_bytes()
    found.numbers = {name: number for number, name in enumerate(info.classes)}
    found.families += (folder / FAMILIES).read_bytes()
    found.unlabelled, found.grouped, found.ungrouped = info.unlabelled, info.grouped, info.ungrouped
    found.profiles, found.broken_profiles = Counter(info.profiles), info.broken_profiles
    found.rejected = [(image.name, image.reason) for image in info.rejected]
    return Part(folder, info, found)
