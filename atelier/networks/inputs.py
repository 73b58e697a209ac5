"""The inputs of a generator by name: how a given value is read, and how a missing one is drawn.

Served columns, ONNX inputs, the page's controls and the options of `components.generate` follow from these declarations.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from atelier.io.label_maps import GRAYS, IGNORED, VALUED, Legend, MapError, painted
from atelier.io.transparency import opaque
from atelier.networks.given import Decoded, Given, Refusal, Value
from atelier.networks.text_and_sound import Sound, Text

NAMED = 12  # classes of a label map that a message names
WHITE = 0xFFFFFF
CELLS = 4  # a side of what is drawn of a label map


Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class Noise(Given):
    """Standard normal numbers, float32 [size]. With `truncation` the generator can bring them nearer to the commonest image."""

    kind: Literal["noise"] = "noise"
    size: PositiveInt
    truncation: bool = True

    @property
    def random(self) -> bool:
        return True

    def column(self, name: str) -> str:
        return "latent" if name == "noise" else name

    def tensor_name(self, name: str) -> str:
        return self.column(name)

    def wants(self, names: Sequence[str]) -> str:
        return f"{self.size} finite numbers"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        try:
            latent = torch.as_tensor(np.asarray(value, dtype=np.float32))
        except (TypeError, ValueError, OverflowError):
            latent = torch.empty(0)
        if latent.shape != (self.size,) or not latent.isfinite().all():
            raise Refusal(self.wants(names))
        return Value(latent, latent.tolist())

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        return torch.randn(count, self.size, generator=rng)


class Label(Given):
    """A class, int64 []: a name, or an index as a number."""

    kind: Literal["label"] = "label"
    classes: PositiveInt

    @property
    def random(self) -> bool:
        return True

    def column(self, name: str) -> str:
        return "class" if name == "label" else name

    def wants(self, names: Sequence[str]) -> str:
        return f"a name ({', '.join(names)}) or a number below {len(names)}"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        if isinstance(value, str) and value in names:
            label = list(names).index(value)
        elif isinstance(value, Real) and value % 1 == 0 and 0 <= int(value) < len(names):  # type: ignore[call-overload]
            label = int(value)  # type: ignore[call-overload]
        else:
            raise Refusal(self.wants(names))
        return Value(torch.tensor(label), names[label])

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        shares = torch.ones(self.classes) if weights is None else torch.as_tensor(weights, dtype=torch.float)
        return torch.multinomial(shares, count, replacement=True, generator=rng)

    def said(self, tensor: Tensor, names: Sequence[str]) -> Any:
        return names[int(tensor)]

    def example(self, names: Sequence[str]) -> list[Any]:
        return [names[0], names[-1]]


class Picture(Given):
    """An image, float32 [channels, resolution, resolution] in [-1, 1]; given as a PNG, JPEG or WebP file in base64.

    What is transparent lies on `background`, the color that the training's pictures were laid over.
    """

    form: ClassVar[str] = "picture"
    kind: Literal["picture"] = "picture"
    channels: Literal[1, 3]
    resolution: PositiveInt
    background: Color = "#ffffff"  # of models of before, which did not say

    def wants(self, names: Sequence[str]) -> str:
        return f"a PNG, JPEG or WebP file of {self.resolution} by {self.resolution} pixels in base64"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        with _opened(value, self.wants(names)) as file:
            if file.size != (self.resolution, self.resolution):
                raise Refusal(f"{self.wants(names)}, not of {file.size[0]} by {file.size[1]}")
            pixels = np.array(opaque(file, "RGB" if self.channels == 3 else "L", self.background))
        pixels = pixels.reshape(self.resolution, self.resolution, self.channels)
        return Value(torch.from_numpy(pixels.transpose(2, 0, 1)).float().div(127.5).sub(1), None)

    def example(self, names: Sequence[str]) -> list[Any]:
        return [_encoded(Image.new("RGB" if self.channels == 3 else "L", (self.resolution, self.resolution), "gray"))] * 2

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        return torch.rand(count, self.channels, self.resolution, self.resolution, generator=rng) * 2 - 1


class LabelMap(Given):
    """A label map, int64 [resolution, resolution] of indices of `classes` (255 is of no class), of which `colors` show each.

    Given as a picture in base64 in the classes' colors (#rrggbb), or with their indices as its values: a PNG in gray, or with a
    palette of other colors.
    """

    form: ClassVar[str] = "picture"
    kind: Literal["map"] = "map"
    classes: Annotated[list[str], Field(min_length=1, max_length=IGNORED)]
    colors: list[Color]
    resolution: PositiveInt

    @model_validator(mode="after")
    def _colored(self) -> Self:
        if len(self.colors) != len(self.classes) or len(set(self.colors)) < len(self.colors):
            raise ValueError(f"{len(self.classes)} classes with {len(set(self.colors))} different colors")
        return self

    @property
    def marks(self) -> tuple[int, ...]:
        """The colors as numbers, 0xRRGGBB."""
        return tuple(int(color[1:], 16) for color in self.colors)

    def wants(self, names: Sequence[str]) -> str:
        some = ", ".join(f"{name} {color}" for name, color in zip(self.classes[:NAMED], self.colors, strict=False))
        more = f" and {len(self.classes) - NAMED} more" if len(self.classes) > NAMED else ""
        return f"a PNG of {self.resolution} by {self.resolution} pixels in base64, in the colors of classes: {some}{more}"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        with _opened(value, self.wants(names)) as file:
            if file.size != (self.resolution, self.resolution):
                raise Refusal(f"{self.wants(names)}, not of {file.size[0]} by {file.size[1]}")
            try:
                indices = self.indices(file)
            except MapError as reason:
                raise Refusal(f"{self.wants(names)}; it {reason}") from reason
        return Value(torch.from_numpy(indices).long(), None)

    def indices(self, image: Image.Image) -> np.ndarray:
        """The class indices uint8 [H, W] of a picture. Raises MapError where it shows no class, or could be read twofold."""
        colored = Legend(tuple(self.classes), self.marks)
        ignored = None if WHITE in self.marks else IGNORED  # 255 in gray is white
        indexed = Legend(tuple(self.classes), tuple(range(len(self.classes))), indexed=True, ignored=ignored)
        try:
            by_color = colored.read(image)
        except MapError:
            if image.mode not in VALUED:
                raise
            return indexed.read(image)
        if image.mode in GRAYS and (by_value := _tried(indexed, image)) is not None and (by_value != by_color).any():
            raise MapError("can be read as colors and as indices; give it in RGB, or with a palette of the classes' colors")
        return by_color

    def example(self, names: Sequence[str]) -> list[Any]:
        """Stripes of all classes."""
        stripes = np.arange(self.resolution) * len(self.classes) // self.resolution
        return [_encoded(painted(np.tile(stripes.astype(np.uint8), (self.resolution, 1)), self.marks))] * 2

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        cells = torch.randint(len(self.classes), (count, CELLS, CELLS), generator=rng)
        places = torch.arange(self.resolution) * CELLS // self.resolution
        return cells[:, places][:, :, places]


class Scalar(Given):
    """A number from `low` to `high`, float32 []; `default` where none is given."""

    kind: Literal["scalar"] = "scalar"
    low: float
    high: float
    default: float

    @model_validator(mode="after")
    def _within(self) -> Self:
        if not self.low <= self.default <= self.high:
            raise ValueError(f"default {self.default:g} is not {self.wants(())}")
        return self

    @property
    def assumed(self) -> Value | None:
        return Value(torch.tensor(self.default), self.default)

    def wants(self, names: Sequence[str]) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        if not isinstance(value, Real) or isinstance(value, bool) or not self.low <= float(value) <= self.high:
            raise Refusal(self.wants(names))
        return Value(torch.tensor(float(value)), float(value))

    def example(self, names: Sequence[str]) -> list[Any]:
        return [self.default, (self.low + self.high) / 2]

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(count, generator=rng)


def _tried(legend: Legend, image: Image.Image) -> np.ndarray | None:
    """What a picture shows by this legend, None where it shows something else."""
    try:
        return legend.read(image)
    except MapError:
        return None


@contextlib.contextmanager
def _opened(value: Any, wanted: str) -> Iterator[Image.Image]:
    """A picture file that came in base64. Raises Refusal with what is wanted, also while it is read."""
    if isinstance(value, Decoded):
        assert isinstance(value.content, Image.Image)
        yield value.content
        return
    try:
        with Image.open(io.BytesIO(base64.b64decode(value, validate=True)), formats=("PNG", "JPEG", "WEBP")) as file:
            yield file
    except (TypeError, binascii.Error, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise Refusal(wanted) from error


def _encoded(picture: Image.Image) -> str:
    """A picture as a PNG in base64."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


ORDER = ("noise", "label", "picture", "map", "text", "sound", "scalar")
Input = Annotated[Noise | Label | Picture | LabelMap | Text | Sound | Scalar, Field(discriminator="kind")]
Takes = dict[str, Input]


def of_latents(size: int, classes: int) -> Takes:
    """What generators of images from noise take: a latent of `size` numbers and, with classes, a label."""
    label: Takes = {"label": Label(classes=classes)} if classes else {}
    return {"noise": Noise(size=size), **label}


def in_order(takes: Takes) -> Takes:
    """The inputs in the order in which they are drawn and offered, whatever order a file has them in."""
    return dict(sorted(takes.items(), key=lambda item: (ORDER.index(item[1].kind), item[0])))


def required(takes: Mapping[str, Given]) -> dict[str, Given]:
    """The inputs that a caller has to give: no seed draws them, and nothing is assumed."""
    return {name: kind for name, kind in takes.items() if not kind.random and kind.assumed is None}


def draw(takes: Mapping[str, Given], count: int, seed: int, weights: np.ndarray | None = None) -> dict[str, Tensor]:
    """All inputs of `count` images by name, [count, ...] on the CPU: a pure function of the seed."""
    rng = torch.Generator().manual_seed(seed)
    return {name: kind.draw(count, rng, weights) for name, kind in takes.items()}
