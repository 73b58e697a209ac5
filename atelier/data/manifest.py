"""manifest.json, the description of a packed dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, field_validator, model_validator

from atelier.config.data import ANNOTATIONS, IMAGE, TARGET
from atelier.config.section import first_problem
from atelier.data.errors import DataError
from atelier.io.files import read_json

# A record is one image; or it has named fields; or it is part of whole pictures, of one or more fields; or it has captions or
# recordings beside its pictures.
FORMATS = (1, 2, 3, 4)
WHOLE, ANNOTATED = FORMATS[2:]
NAME = "manifest.json"
SPLITS = ("train", "test")
AnyRecord = TypeVar("AnyRecord", bound="Record")


class Record(BaseModel):
    """What is kept as JSON: nothing unknown is accepted, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def imitated(names: Collection[str]) -> str:
    """The field that is imitated and measured: the target, or the only one."""
    return TARGET if TARGET in names else next(iter(names))


class SplitInfo(Record):
    """Images of a split, in all and of each class (in the order of Manifest.classes; empty without labels)."""

    count: NonNegativeInt
    class_counts: list[NonNegativeInt]


class Table(Record):
    """What became of the captions or recordings of a field, each once: `entries` arrays of `shape`, float16, in FIELD.npy.

    A record has `most` of them at most. `encoder` names what made the numbers, `weights` is the sha256 of its weights, "" where
    it has none. `sha256` are those of the files beside the shards; FIELD.json lists the captions.
    """

    entries: PositiveInt
    most: PositiveInt
    shape: list[PositiveInt]
    encoder: str
    weights: str
    sha256: dict[str, str]


class FieldInfo(Record):
    """A field: record i has its pixels, uint8 [H, W, channels], at i * stride + pixels of its shard.

    Those of a map are indices of `classes`, of which `colors` (#rrggbb) show each; 255 is of no class. Of whole pictures `pixels`
    is 0, since it follows from their sizes; those of this field are `scale` times smaller than those of the one that is imitated.
    Captions (text) and recordings (sound) have no channels, but rows of a table, int32 [most], where others have pixels.
    """

    kind: Literal["image", "map", "text", "sound"] = "image"
    classes: list[str] = []
    colors: list[str] = []
    channels: Annotated[int, Field(ge=0, le=3)]
    pixels: NonNegativeInt
    scale: PositiveInt = 1
    table: Table | None = None

    @model_validator(mode="after")
    def _tabled(self) -> Self:
        if (self.kind in ANNOTATIONS, not self.channels) != (self.table is not None,) * 2:
            raise ValueError(f"a {self.kind} with {self.channels} channels and {'a' if self.table else 'no'} table")
        return self


class Layout(Record):
    """Where things lie in a shard: image i has its pixels at i * stride + pixels, its label's ASCII digits at i * stride + label.

    Offsets in bytes. Without labels, label and label_digits are 0. Of several fields the image is the one that is imitated. Of
    whole pictures all but label_digits are 0, since they depend on sizes.
    """

    stride: int
    pixels: int
    label: int
    label_digits: int


class Shard(Record):
    """One tar file of a split, beside the manifest. `sizes` are those of its whole pictures, as width x height ("640x480")."""

    name: Annotated[str, Field(pattern=r"^(train|test)-\d{5,9}\.tar$")]
    split: Annotated[str, Field(pattern="^(train|test)$")]
    count: PositiveInt
    bytes: PositiveInt
    sha256: str
    sizes: list[Annotated[str, Field(pattern=r"^[1-9]\d{0,8}x[1-9]\d{0,8}$")]] = []


class RejectedImage(Record):
    """An image that is not in the set, and why."""

    name: str
    reason: str


class Manifest(Record):
    """All of it. It holds no path, time or host: equal images packed with equal settings give an equal manifest on every machine.

    source may also name the folders `around` everything, and those of a split: `training` and `held_out`. split_conflicts counts
    images that were in both parts of a given split, which are held out. profiles counts images whose colors were converted to
    sRGB, by the name of their profile, duplicates included; broken_profiles those whose profile was ignored.
    content_hash covers resolution, channels, classes, and pixels, label and split of every image in order; not the shards' size.

    fields are those of every record in their order, {} where it is one image, which is format 1. Of several, channels and
    layout.pixels are those of the field that is imitated, the content hash also covers `fields`, and its digests are of records.

    Format 3 is of whole pictures of any size from `resolution` up: count and splits are those of pictures, not of the crops that
    they count as when they are read; digests cover sizes, and the content hash says that they are whole.

    Format 4 has fields of which some are captions or recordings; digests cover these as they were given, the content hash also
    their encoders.
    """

    format: int
    fields: dict[str, FieldInfo] = {}
    count: int
    resolution: int
    channels: int
    classes: list[str]
    splits: dict[str, SplitInfo]
    layout: Layout
    shards: list[Shard]
    source: dict[str, str]
    processing: dict[str, Any]
    duplicates: int
    label_conflicts: int
    split_conflicts: int = 0
    profiles: dict[str, PositiveInt] = {}
    broken_profiles: NonNegativeInt = 0
    rejected: list[RejectedImage]
    content_hash: str

    @field_validator("splits")
    @classmethod
    def _all(cls, splits: dict[str, SplitInfo]) -> dict[str, SplitInfo]:
        if set(splits) != set(SPLITS):
            raise ValueError(f"{', '.join(splits) or 'none'} instead of {', '.join(SPLITS)}")
        return splits

    @model_validator(mode="after")
    def _imitates(self) -> Self:
        if not self.whole and (self.format in (FORMATS[1], ANNOTATED)) != (len(self.fields) > 1):
            raise ValueError(f"format {self.format} with {len(self.fields)} fields")
        if (self.format == ANNOTATED) != any(field.table for field in self.fields.values()):
            raise ValueError(f"format {self.format}, and its tables are of another")
        if self.fields and self.records[imitated(self.fields)] != FieldInfo(channels=self.channels, pixels=self.layout.pixels):
            raise ValueError("channels and layout are not those of the field that is imitated")
        return self

    @model_validator(mode="after")
    def _sized(self) -> Self:
        for shard in self.shards:
            if len(shard.sizes) != (shard.count if self.whole else 0):
                raise ValueError(f"{shard.name}: {len(shard.sizes)} sizes of {shard.count} pictures in format {self.format}")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole pictures."""
        return self.format == WHOLE

    @property
    def records(self) -> dict[str, FieldInfo]:
        """The fields of every record by name, of one image that image."""
        return self.fields or {IMAGE: FieldInfo(channels=self.channels, pixels=self.layout.pixels)}

    def written(self) -> dict[str, Any]:
        """What manifest.json holds. Of formats 1 and 2 it is what it was before there were fields and sizes, byte for byte."""
        left_out: dict[str, Any] = {} if self.fields else {"fields": True}
        later = ({"scale"} if not self.whole else set()) | ({"table"} if self.format != ANNOTATED else set())
        if not self.whole:
            left_out |= {"shards": {"__all__": {"sizes"}}}
        if self.fields:
            left_out |= {"fields": {"__all__": later}}
        return self.model_dump(mode="json", exclude=left_out)

    @model_validator(mode="after")
    def _counted(self) -> Self:
        for name, split in self.splits.items():
            if len(split.class_counts) != len(self.classes) or (self.classes and sum(split.class_counts) != split.count):
                raise ValueError(f"splits.{name}: class_counts do not fit {split.count} images of {len(self.classes)} classes")
        return self

    def class_shares(self, split: str) -> dict[str, float]:
        """The share of each class among the images of train, test or all, by name; {} without classes."""
        parts = [self.splits[part] for part in SPLITS if split in (part, "all")]
        count = sum(part.count for part in parts)
        return {name: sum(part.class_counts[label] for part in parts) / count for label, name in enumerate(self.classes)}


class ContentHash:
    """sha256 over resolution, channels, classes, of each split its name, size, every record's sha256, the labels.

    Instead of channels there are, of several fields, the channels of each image and the classes of each map with their colors.
    Of captions and recordings it is their kind, the encoder and its weights. Of whole pictures the scales of several fields
    follow, {} of one.
    """

    def __init__(
        self, resolution: int, channels: int, classes: list[str], fields: Mapping[str, FieldInfo], whole: bool = False
    ) -> None:
        each = {name: _identity(field) for name, field in fields.items()}
        scales = [{name: field.scale for name, field in fields.items()}] if whole else []
        described = json.dumps([resolution, each or channels, classes, *scales], separators=(",", ":"))
        self._hash = hashlib.sha256(described.encode())

    def add(self, split: str, digests: np.ndarray, labels: np.ndarray) -> None:
        """Digests uint8 [N, 32] in the order of the split, labels [N] (zeros without classes)."""
        self._hash.update(f"\n{split} {len(digests)}\n".encode())
        self._hash.update(np.ascontiguousarray(digests).tobytes())
        self._hash.update(labels.astype("<i4").tobytes())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _identity(field: FieldInfo) -> Any:
    if field.table:
        return [field.kind, field.table.encoder, field.table.weights]
    return field.channels if field.kind == "image" else [field.classes, field.colors]


def load_manifest(folder: Path) -> Manifest:
    """Reads manifest.json of a packed dataset. Raises DataError where it is missing, broken or of another format."""
    return load_record(Path(folder) / NAME, Manifest, FORMATS, "packed dataset", "run `dvc repro` (or `dvc pull`)")


def load_record(path: Path, kind: type[AnyRecord], formats: Sequence[int], what: str, remedy: str) -> AnyRecord:
    """Reads the record of `kind` that makes the folder of `path` a `what`.

    Raises DataError with the remedy where it is missing, broken or of none of the `formats`.
    """
    try:
        values = read_json(path)
    except FileNotFoundError:
        raise DataError(f"{path}: missing, so {path.parent} is no {what}; {remedy}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {remedy}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found not in formats:
        known = " or ".join(map(str, formats))
        raise DataError(f"{path}: format {found}, but this version reads format {known}; pack the images again with it")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; it was damaged or edited: {remedy}") from error
