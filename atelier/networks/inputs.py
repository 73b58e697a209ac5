"""The inputs of a generator by name: how a given value is read, and how a missing one is drawn.

Served columns, ONNX inputs, the page's controls and the options of `components.generate` follow from these declarations.
"""

from __future__ import annotations

import base64
import binascii
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor


class Refusal(ValueError):
    """What was given for an input cannot be read; the message says what can."""


class Value(NamedTuple):
    """One input of one image: its tensor without a batch dimension, and how it was understood, as JSON."""

    tensor: Tensor
    said: Any


class Given(BaseModel, ABC):
    """One input of a generator. `random` inputs are drawn from a seed where a caller gives none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @property
    def random(self) -> bool:
        """Whether a seed is enough."""
        return False

    def column(self, name: str) -> str:
        """What callers know the input called `name` as."""
        return name

    def tensor_name(self, name: str) -> str:
        """What an exported model knows the input called `name` as."""
        return name

    @abstractmethod
    def wants(self, names: Sequence[str]) -> str:
        """What may be given, for people; `names` are those of the classes."""

    @abstractmethod
    def read(self, value: Any, names: Sequence[str]) -> Value:
        """What a caller has given. Raises Refusal."""

    @abstractmethod
    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        """[count, ...] of this input at random; `weights` [classes] say how often each class comes."""

    def said(self, tensor: Tensor, names: Sequence[str]) -> Any:
        """How a drawn value is told to the caller, None where the seed says it all."""

    def example(self, names: Sequence[str]) -> list[Any]:
        """Two values that show a caller what to give, [] where a seed shows it."""
        return []


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
    """An image, float32 [channels, resolution, resolution] in [-1, 1]; given as a PNG, JPEG or WebP file in base64."""

    kind: Literal["picture"] = "picture"
    channels: Literal[1, 3]
    resolution: PositiveInt

    def wants(self, names: Sequence[str]) -> str:
        return f"a PNG, JPEG or WebP file of {self.resolution} by {self.resolution} pixels in base64"

    def read(self, value: Any, names: Sequence[str]) -> Value:
        try:
            with Image.open(io.BytesIO(base64.b64decode(value, validate=True)), formats=("PNG", "JPEG", "WEBP")) as file:
                if file.size != (self.resolution, self.resolution):
                    raise Refusal(f"{self.wants(names)}, not of {file.size[0]} by {file.size[1]}")
                pixels = np.array(file.convert("RGB" if self.channels == 3 else "L")).reshape(*file.size, self.channels)
        except (TypeError, binascii.Error, UnidentifiedImageError, OSError, SyntaxError) as error:
            raise Refusal(self.wants(names)) from error
        return Value(torch.from_numpy(pixels.transpose(2, 0, 1)).float().div(127.5).sub(1), None)

    def example(self, names: Sequence[str]) -> list[Any]:
        file = io.BytesIO()
        Image.new("RGB" if self.channels == 3 else "L", (self.resolution, self.resolution), "gray").save(file, "PNG")
        return [base64.b64encode(file.getvalue()).decode()] * 2

    def draw(self, count: int, rng: torch.Generator, weights: np.ndarray | None = None) -> Tensor:
        return torch.rand(count, self.channels, self.resolution, self.resolution, generator=rng) * 2 - 1


ORDER = ("noise", "label", "picture")
Input = Annotated[Noise | Label | Picture, Field(discriminator="kind")]
Takes = dict[str, Input]


def of_latents(size: int, classes: int) -> Takes:
    """What generators of images from noise take: a latent of `size` numbers and, with classes, a label."""
    label: Takes = {"label": Label(classes=classes)} if classes else {}
    return {"noise": Noise(size=size), **label}


def in_order(takes: Takes) -> Takes:
    """The inputs in the order in which they are drawn and offered, whatever order a file has them in."""
    return dict(sorted(takes.items(), key=lambda item: (ORDER.index(item[1].kind), item[0])))


def draw(takes: Mapping[str, Given], count: int, seed: int, weights: np.ndarray | None = None) -> dict[str, Tensor]:
    """All inputs of `count` images by name, [count, ...] on the CPU: a pure function of the seed."""
    rng = torch.Generator().manual_seed(seed)
    return {name: kind.draw(count, rng, weights) for name, kind in takes.items()}
