"""The sections `data` and `target` of params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from atelier.config.section import PositiveInt, Section

SOURCES = ("mnist-5k", "digits-1797", "folder", "zip", "idx", "parquet", "webdataset", "lmdb", "s3", "torchvision:NAME")
TREES = ("folder", "zip", "s3")  # sources whose folders may be classes, or a split


class DataSettings(Section):
    """Where images come from and how they become a packed dataset."""

    source: str
    path: Annotated[str, Field(min_length=1)]
    licence: str
    labels: bool
    image_column: str
    label_column: str
    resolution: Literal[28, 32, 64, 128, 256, 512, 1024]
    channels: Literal[1, 3]
    fit: Literal["crop", "pad", "stretch"]
    margin: Annotated[int, Field(ge=0)]
    filter: Literal["lanczos", "bicubic", "bilinear", "box"]
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    split: Literal["draw", "given", "pool"]
    holdout: Annotated[float, Field(ge=0, lt=1)]
    min_side: PositiveInt
    max_pixels: PositiveInt
    max_rejected: Annotated[int, Field(ge=0)]
    shard_mib: PositiveInt

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        if source not in SOURCES[:-1] and not re.fullmatch(r"torchvision:[A-Za-z0-9]+", source):
            raise ValueError(f"{source!r} is no source; choose {', '.join(SOURCES[:-1])} or {SOURCES[-1]}")
        return source

    @field_validator("resolution", "channels", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):  # 1.0 and true are equal to 1
            raise ValueError(f"should be a whole number, but it is {value!r}")
        return value

    @field_validator("background", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if value is None:
            raise ValueError('has no value, since YAML reads what follows # as a comment; quote it: "#ffffff"')
        return value

    @model_validator(mode="after")
    def _room(self) -> Self:
        if 2 * self.margin >= self.resolution:
            raise ValueError(f"margin {self.margin} on both sides leaves nothing of resolution {self.resolution}; lower it")
        return self

    @model_validator(mode="after")
    def _one_split(self) -> Self:
        if self.split != "draw" and self.source not in TREES:
            raise ValueError(
                f"split: {self.split} is for the folders of {', '.join(TREES)}, not for {self.source}; set split: draw"
            )
        if self.split == "given" and self.holdout > 0:
            raise ValueError(
                f"split: given holds out what the source's own folders hold out, and holdout {self.holdout} would draw others; "
                "set holdout: 0.0, or split: pool"
            )
        return self
