"""What a reader of published weights gives: NAME_published.py beside an architecture reads those of its authors.

Such a file has a `TITLE`, a `MARK`, which is a tensor that no other kind of network has, and `read`, which takes the tensors that
it knows out of a mapping and returns a Published.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from atelier.networks.layers import ImageShape, NetworkError

Tensors = dict[str, Tensor]
ORIGINAL = "parametrizations.{}.original"
SUFFIX = "_published"


class PublishedError(NetworkError):
    """The tensors are of no published network that is known here, or of a form that the family does not have."""


@dataclass(frozen=True)
class Published:
    """A network read from tensors: its settings, the shape of its images, and our names of its tensors."""

    model: dict[str, Any]
    shape: ImageShape
    tensors: Tensors


def readers() -> list[ModuleType]:
    """The modules that read published weights."""
    files = sorted(Path(__file__).parent.glob(f"*{SUFFIX}.py"))
    return [import_module(f"{__package__}.{file.stem}") for file in files]


def published(family: str, section: dict[str, Any], latent: int, shape: ImageShape, tensors: Tensors) -> Published:
    """A network of this family with its own section, latent size, images and tensors."""
    model = {"architecture": family, "conditional": shape.classes > 0, "conditioning": "projection", "latent_dim": latent}
    return Published({**model, family: section}, shape, tensors)
