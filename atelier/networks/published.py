"""What a reader of published weights gives: NAME_published.py beside an architecture reads those of its authors.

Such a file has a `TITLE`, `MARKS`, which are names of tensors that no other kind of network has, one for each way of naming them,
and `read`, which takes the tensors that it knows out of a mapping and returns a Published.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from atelier.config.model import TASK
from atelier.networks.inputs import Takes, of_latents
from atelier.networks.layers import ImageShape, NetworkError

Tensors = dict[str, Tensor]
ORIGINAL = "parametrizations.{}.original"
SUFFIX = "_published"


class PublishedError(NetworkError):
    """The tensors are of no published network that is known here, or of a form that the family does not have."""


@dataclass(frozen=True)
class Published:
    """A network read from tensors: its settings, the shape of its images, our names of its tensors, its inputs and its task."""

    model: dict[str, Any]
    shape: ImageShape
    tensors: Tensors
    takes: Takes
    task: str = TASK


def readers() -> list[ModuleType]:
    """The modules that read published weights."""
    files = sorted(Path(__file__).parent.glob(f"*{SUFFIX}.py"))
    return [import_module(f"{__package__}.{file.stem}") for file in files]


def published(family: str, section: dict[str, Any], latent: int, shape: ImageShape, tensors: Tensors) -> Published:
    """A network of this family with its own section, latent size, images and tensors."""
    model = {"architecture": family, "conditional": shape.classes > 0, "conditioning": "projection", "latent_dim": latent}
    return Published({**model, family: section}, shape, tensors, of_latents(latent, shape.classes))


def translator(family: str, section: dict[str, Any], shape: ImageShape, takes: Takes, tensors: Tensors, task: str) -> Published:
    """A translator of this family with its own section, images, inputs and tensors, of the task that trains such ones."""
    return Published({"architecture": family, "conditional": False, family: section}, shape, tensors, takes, task)
