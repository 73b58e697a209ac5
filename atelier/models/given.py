"""What people give to a model: their files become the pictures and label maps that it takes, processed as those that train."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atelier.data.errors import Rejected
from atelier.data.process import Recipe, process, process_map
from atelier.data.sources.folders import is_image
from atelier.errors import AtelierError

if TYPE_CHECKING:
    from atelier.networks.inputs import LabelMap, Picture

MOST_PIXELS = 10**8  # of a picture that is given, as of those that train


class PictureError(AtelierError):
    """What is given is no picture, or no label map, that the model takes."""


def files(place: Path) -> list[Path]:
    """The pictures in a folder in the order of their names, or the one file. Raises PictureError where there is none."""
    found = sorted(file for file in place.rglob("*") if is_image(file.name)) if place.is_dir() else [place]
    if not found or not found[0].is_file():
        raise PictureError(f"{place}: no pictures there; give a file, or a folder of pictures")
    return found


def square(file: Path, kind: Picture | LabelMap) -> np.ndarray:
    """A picture uint8 [H, W, C], or the class indices of a label map [H, W, 1], cropped to a square of the model's side.

    Raises PictureError.
    """
    side, recipe = kind.resolution, recipe_of(kind)
    with naming(file, kind):
        content = file.read_bytes()
        pixels = process_map(content, recipe, kind.indices) if kind.kind == "map" else process(content, recipe).pixels
    return np.frombuffer(pixels, np.uint8).reshape(side, side, recipe.channels)


def recipe_of(kind: Picture | LabelMap) -> Recipe:
    """How files become what a model takes."""
    channels, background = (kind.channels, kind.background) if kind.kind == "picture" else (1, "#000000")
    return Recipe(
        kind.resolution,
        channels,
        fit="crop",
        margin=0,
        filter="lanczos",
        background=background,
        min_side=1,
        max_pixels=MOST_PIXELS,
    )


@contextlib.contextmanager
def naming(file: Path, kind: Picture | LabelMap) -> Iterator[None]:
    """Turns what is wrong with a file into PictureError that names it."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{file}: {error}") from error
    except (OSError, Rejected) as error:
        what = "picture" if kind.kind == "picture" else "label map"
        raise PictureError(f"{file}: cannot be read as a {what} ({error}); give another, or convert it to PNG") from error
