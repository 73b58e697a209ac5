"""Section `data` of params.yaml: the sets of images, by their names, and the fields of their records."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from atelier.config.section import Name, PositiveInt, Section

SOURCES = ("mnist-5k", "digits-1797", "folder", "zip", "idx", "parquet", "webdataset", "lmdb", "s3", "torchvision:NAME")
TREES = ("folder", "zip", "s3")  # sources whose folders may be classes, a split, or fields
HALVES = ("left", "right")  # of a picture that holds two side by side
IMAGE, TARGET = "image", "target"  # names of the only field, and of the one of several that is imitated
LONGEST_FIELD = 32  # letters of a field's name, which is part of names in a tar
MOST_CLASSES = 255  # of a label map; one more index says that a pixel is of none
MOST_VALUE = 65535  # of a pixel
OF_WHOLE = (48, 96, 192, 384)  # resolutions of crops alone: networks that halve again and again need powers of two
COLOR = r"#[0-9a-fA-F]{6}"
ANNOTATIONS = ("text", "sound")  # kinds of fields that are no pictures
MOST_ANNOTATED = 4  # such fields of a set


def whole(value: Any) -> Any:
    """The value, where it is a whole number: 1.0 and true are equal to 1. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"should be a whole number, but it is {value!r}")
    return value


class FieldSettings(Section):
    """One field of the records of a set: where a source has it, and what it is."""

    place: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        alias="from",
        description="where the source has it: its folder (folder, zip, s3; . for all), its column (parquet), of texts "
        "also a file of rows (.csv or .jsonl, with file_name and the field's name), or the left or right half of pictures that "
        "stand side by side in one file; by default a folder or column of the field's name",
    )
    kind: Literal["image", "map", "text", "sound"] = Field(
        default="image",
        description="image, or map: a label map, whose pixels are classes and are never blended; or what is said of the picture, "
        "text: its captions, kept as vectors of a sentence model, or sound: its recordings (WAV), kept as log-mel spectrograms",
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1 for grey, 3 for colour; those of the set by default")
    classes: dict[str, str | int] = Field(
        default_factory=dict,
        description="of a map its classes, each with its colour as #RRGGBB in quotes (indices follow the names' order), or each "
        "with its value in files of one value a pixel (indices follow the values)",
    )
    scale: Literal[2, 3, 4] | None = Field(
        default=None,
        description="of whole pictures how many times smaller this field's sides are than the target's, whose last pixels are "
        "cut off where they are no multiple; left out where they are equal",
    )
    ignore: str | int | None = Field(
        default=None, description='of a map what counts as no class ("don\'t care"): a name of classes, a colour, or a value'
    )

    words: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="of a text a file of word vectors (the text format of GloVe, word2vec or fastText) or its s3:// URI: a "
        "caption is the mean of its words' vectors; by default a sentence model embeds it",
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None, description="of that file its sha256, since a result depends on it"
    )

    @field_validator("channels", "scale", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return value if value is None else whole(value)

    @field_validator("classes", mode="before")
    @classmethod
    def _quoted(cls, classes: Any) -> Any:
        for name, value in classes.items() if isinstance(classes, dict) else ():
            if value is None:
                raise ValueError(f'{name} has no value, since YAML reads what follows # as a comment; quote it: "#ffffff"')
        return classes

    @model_validator(mode="after")
    def _hashed(self) -> Self:
        if (self.words is None) != (self.sha256 is None):
            raise ValueError("words and its sha256 go together; set both (sha256sum FILE), or leave both out")
        if self.words and self.kind != "text":
            raise ValueError(f"words embed texts, and this is a field of kind {self.kind}; take words and sha256 out")
        return self

    @model_validator(mode="after")
    def _legend(self) -> Self:
        if self.kind == "image":
            if self.classes or self.ignore is not None:
                raise ValueError("classes and ignore are for kind: map; set that, or take them out")
            return self
        if self.kind in ANNOTATIONS:
            if self.classes or {self.ignore, self.channels, self.scale} != {None}:
                raise ValueError(f"a {self.kind} has no pixels; take channels, classes, ignore and scale out")
            return self
        if self.scale is not None:
            raise ValueError("a map has the size of its picture; take scale out")
        if self.channels is not None:
            raise ValueError("a map has one class a pixel and no channels; take channels out")
        marks = [*self.classes.values(), *([] if self.ignore is None or self.ignore in self.classes else [self.ignore])]
        named = [mark for mark in marks if isinstance(mark, str)]
        if named and (len(named) < len(marks) or not all(re.fullmatch(COLOR, mark) for mark in named)):
            raise ValueError(f"classes are {self.classes} and ignore {self.ignore}; give all as #RRGGBB, or all as numbers")
        if any(isinstance(mark, int) and not 0 <= mark <= MOST_VALUE for mark in marks):
            raise ValueError(f"classes are {self.classes} and ignore {self.ignore}; values are from 0 to {MOST_VALUE}")
        if len({str(mark).lower() for mark in marks}) < len(marks):
            raise ValueError(f"classes are {self.classes} and ignore {self.ignore}; give each a colour or value of its own")
        if not 1 <= len(set(self.classes) - {self.ignore}) <= MOST_CLASSES:
            raise ValueError(f"a map has 1 to {MOST_CLASSES} classes beside what it ignores; name each with its colour or value")
        return self


class DataSettings(Section):
    """A set of images: where they come from and how they become a packed dataset."""

    source: str = Field(
        description="mnist-5k (embedded), digits-1797 (embedded), folder, zip, idx, parquet, webdataset, lmdb, s3, or "
        "torchvision:NAME"
    )
    path: Annotated[str, Field(min_length=1)] = Field(
        description="folder, file or s3:// prefix that the source reads; what is embedded ignores it"
    )
    licence: str = Field(description="licence of the images, written into the manifest")
    labels: bool = Field(description="keep class labels (sub-folders, label files or label column)")
    image_column: str = Field(default="image", description="column of a Parquet source that holds the encoded images")
    label_column: str = Field(
        default="label", description="column of a Parquet source that holds the labels; key of a WebDataset's .json members"
    )
    fields: dict[Name, FieldSettings] = Field(
        default_factory=dict,
        description="the pictures of a record by name, of which target is imitated, and what is said of them; left out where a "
        "record is one image",
    )
    resolution: Literal[28, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024] = Field(
        description="side of the square images in pixels: 28, or a power of two from 32 to 1024; of whole pictures the side of "
        "what is cut out of them, also 48, 96, 192 or 384"
    )
    channels: Literal[1, 3] = Field(description="1 for grey, 3 for colour")
    fit: Literal["crop", "pad", "stretch", "whole"] = Field(
        description="how an image becomes a square: crop (centre), pad (with the background) or stretch; or whole: it is kept in "
        "its size, whatever filter says, and squares are cut out of it when it is read"
    )
    margin: Annotated[int, Field(ge=0)] = Field(
        description="pixels of background on each side of that square, less than half the resolution; frames what fills its "
        "image like what does not"
    )
    filter: Literal["lanczos", "bicubic", "bilinear", "box"] = Field(description="antialiased resampling filter")
    background: Annotated[str, Field(pattern=f"^{COLOR}$")] = Field(
        description="colour under transparent pixels and beside padded ones, as #RRGGBB in quotes"
    )
    split: Literal["draw", "given", "pool"] = Field(
        description="how images are held out: draw (of all images), given (what the source has in val, valid, test or the like "
        "beside train; with holdout: 0.0) or pool (draw, though the source has such folders)"
    )
    holdout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the images kept out of training, drawn by content hash"
    )
    group_by: str | None = Field(
        default=None,
        description="regular expression whose first group, found in a record's name, is its family: near copies, which all fall "
        "on one side of the drawn split, by the hash of that text",
    )
    min_side: PositiveInt = Field(default=8, description="an image with a shorter side in pixels is rejected as too small")
    max_pixels: PositiveInt = Field(default=100_000_000, description="an image with more pixels is rejected before it is decoded")
    max_rejected: Annotated[int, Field(ge=0)] = Field(
        default=0, description="packing fails when more images than this are rejected"
    )
    shard_mib: PositiveInt = Field(default=64, description="size of a shard in MiB")

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        if source not in SOURCES[:-1] and not re.fullmatch(r"torchvision:[A-Za-z0-9]+", source):
            raise ValueError(f"{source!r} is no source; choose {', '.join(SOURCES[:-1])} or {SOURCES[-1]}")
        return source

    @field_validator("resolution", "channels", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return whole(value)

    @field_validator("background", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if value is None:
            raise ValueError('has no value, since YAML reads what follows # as a comment; quote it: "#ffffff"')
        return value

    @field_validator("group_by")
    @classmethod
    def _grouping(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error}); correct it") from error
        if not groups:
            raise ValueError(f"{pattern!r} has no group; put what names the family in ( )")
        return pattern

    @model_validator(mode="after")
    def _whole_pictures(self) -> Self:
        if self.fit == "whole":
            if self.margin:
                raise ValueError(
                    f"fit: whole keeps pictures as they are, and margin {self.margin} would frame them; set margin: 0"
                )
            for name, field in self.fields.items():
                if field.kind in ANNOTATIONS:
                    raise ValueError(
                        f"fields.{name}: a {field.kind} says what all of a picture shows, and squares are cut out of "
                        "it; set fit: crop, pad or stretch"
                    )
                if field.scale and name in (IMAGE, TARGET):
                    raise ValueError(f"fields.{name}: the sizes of others are measured by it; take its scale out")
                if field.scale and self.resolution % field.scale:
                    raise ValueError(
                        f"resolution {self.resolution} is no multiple of scale {field.scale} of fields.{name}; take "
                        f"{', '.join(str(side) for side in OF_WHOLE if side % field.scale == 0)} or the like"
                    )
            return self
        if scaled := [name for name, field in self.fields.items() if field.scale]:
            raise ValueError(
                f"fields.{scaled[0]}: scale is for fit: whole, where pictures keep their sizes; take one of them out"
            )
        if self.resolution in OF_WHOLE:
            raise ValueError(f"resolution {self.resolution} is for fit: whole; take 28 or a power of two")
        return self

    @model_validator(mode="after")
    def _room(self) -> Self:
        if 2 * self.margin >= self.resolution:
            raise ValueError(f"margin {self.margin} on both sides leaves nothing of resolution {self.resolution}; lower it")
        return self

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split != "draw" and self.source not in (*TREES, "parquet"):
            raise ValueError(
                f"split: {self.split} is for the folders of {', '.join(TREES)} and the files of parquet, not for {self.source}; "
                "set split: draw"
            )
        if self.split == "given" and self.holdout > 0:
            raise ValueError(
                f"split: given holds out what the source's own folders hold out, and holdout {self.holdout} would draw others; "
                "set holdout: 0.0, or split: pool"
            )
        if self.split == "given" and self.group_by is not None:
            raise ValueError("group_by says how the held-out images are drawn, and split: given draws none; take one of them out")
        return self

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        annotations = [name for name, field in self.fields.items() if field.kind in ANNOTATIONS]
        if len(annotations) > MOST_ANNOTATED:
            raise ValueError(f"{len(annotations)} fields are texts or sounds; keep {MOST_ANNOTATED} at most")
        pictures = [name for name in self.fields if name not in annotations]
        if self.fields and TARGET not in pictures and pictures != [IMAGE]:
            raise ValueError(
                f"fields are {', '.join(self.fields)}, and none is {TARGET}, which is what is imitated; name it so (a single "
                f"field: {IMAGE})"
            )
        imitated = next((self.fields[name] for name in (TARGET, IMAGE) if name in self.fields), None)
        if imitated and imitated.channels not in (None, self.channels):
            raise ValueError(
                f"channels is {self.channels}, and that of the field that is imitated {imitated.channels}; set channels alone"
            )
        if imitated and imitated.kind != "image":
            raise ValueError(
                f"the field that is imitated is a {imitated.kind}, and only images are imitated; swap target and input"
            )
        for name in self.fields:
            if name == "label" or len(name) > LONGEST_FIELD:
                raise ValueError(f"fields.{name}: a field's name has at most {LONGEST_FIELD} letters and is not label; rename it")
        return self

    @model_validator(mode="after")
    def _found_fields(self) -> Self:
        if not self.fields:
            return self
        kinds = {name: field.kind if field.kind in ANNOTATIONS else IMAGE for name, field in self.fields.items()}
        if self.source not in (*TREES, "parquet") and set(kinds.values()) & set(ANNOTATIONS):
            raise ValueError(
                f"texts and sounds are files of {', '.join(TREES)} or columns of parquet, and source is {self.source}; choose "
                "one of these"
            )
        places = {name: field.place or name for name, field in self.fields.items()}
        halves = self.source != "parquet" and any(place in HALVES for place in places.values())
        if halves and not set(places.values()) <= set(HALVES):
            raise ValueError(
                f"fields come from {', '.join(places.values())}; all have to be halves of one picture (left, right), or none (a "
                "folder that is called left is left/)"
            )
        apart = {(place.strip("/"), "" if self.source == "parquet" else kinds[name]) for name, place in places.items()}
        if len(apart) < len(places):
            raise ValueError(f"fields come from {', '.join(places.values())}; give each a place of its own")
        if not halves and self.source not in (*TREES, "parquet"):
            raise ValueError(
                f"fields are folders of {', '.join(TREES)}, columns of parquet, or halves (left, right) of pictures, and "
                f"source is {self.source}; set from: left and from: right, or another source"
            )
        return self
