"""What every input of a generator is to those who call it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Refusal(ValueError):
    """What was given for an input cannot be read; the message says what can."""


class Value(NamedTuple):
    """One input of one image: its tensor without a batch dimension, and how it was understood, as JSON."""

    tensor: Tensor
    said: Any


@dataclass(frozen=True)
class Decoded:
    """A file that was decoded elsewhere, given in place of the file in base64: the picture or the spectrogram that it holds."""

    file: bytes
    content: Image.Image | np.ndarray


class Given(BaseModel, ABC):
    """One input of a generator. `random` inputs are drawn from a seed where a caller gives none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    form: ClassVar[str] = ""  # picture or sound, where a file is given, in base64 or Decoded
    reader: ClassVar[str] = ""  # the module that reads it, loaded by its name, so that only models that need it ship it
    packages: ClassVar[tuple[str, ...]] = ()  # that this needs, beside those of every model

    @property
    def random(self) -> bool:
        """Whether a seed is enough."""
        return False

    @property
    def assumed(self) -> Value | None:
        """What holds where a caller gives none, None where nothing does."""
        return None

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
