"""The pictures that translators of two versions are both given when they are compared: held-out records, or picture files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atelier.config.section import SEEDS
from atelier.data.manifest import NAME
from atelier.data.packed import PackedDataset
from atelier.io.pictures import colored, in_color
from atelier.models.given import PictureError, files, square
from atelier.models.model import at_once, generate
from atelier.networks.base import Generator
from atelier.networks.inputs import LabelMap, Picture, draw, required
from atelier.tasks.find import sampling_of
from atelier.tasks.records import as_input, palette_of

COLUMNS, MOST = 10, 30  # pictures beside each other, and in all


def place_of(version: str, name: str, parameters: Mapping[str, Any]) -> Path:
    """The packed set whose held-out records the version `name` was measured by: data/SET of the project in this folder.

    `parameters` are those that were kept with it. Raises PictureError where they name none, or it is not here.
    """
    products = parameters.get("products", {}).values()
    of: Mapping[str, Any] = next((product for product in products if product.get("name") == name), {})
    found = of.get("inputs") or of.get("data") or (parameters.get(of.get("trained_by", "")) or {}).get("data")
    remedy = "give a packed set, or a folder of pictures, with --inputs"
    if not isinstance(found, str):
        raise PictureError(f"{version} makes pictures of pictures, and its parameters do not say of which set; {remedy}")
    place = Path("data") / found
    if not (place / NAME).is_file():
        raise PictureError(
            f"{place}: not here, and {version} is shown by its held-out pictures; run `dvc pull {place}` in the folder of its "
            f"project, or {remedy}"
        )
    return place


class Sheet(NamedTuple):
    """Pictures uint8 [N, 3, H, W], so many in a row, what they are, and the hash of the packed set that they come from."""

    images: np.ndarray
    columns: int
    caption: str
    content_hash: str = ""


def translated(generator: Generator, place: Path, seed: int) -> Sheet:
    """Rows of what a generator is given, of what it makes of it and, where it is known, of what should have come of it.

    The seed draws which held-out records of a packed set, what is drawn of them, and the noise. Of picture files the first are
    taken. Label maps are in the colors of their classes, smaller pictures enlarged pixel by pixel.

    Raises PictureError, DataError, SettingsError.
    """
    read = {name: kind for name, kind in generator.takes.items() if isinstance(kind, Picture | LabelMap)}
    if required(generator.takes).keys() != read.keys() or len(read) > 1:
        raise PictureError(f"a version takes {', '.join(generator.takes)}: only what takes one picture or label map is compared")
    ((name, kind),) = read.items()
    if (place / NAME).is_file():
        made, given, target, content_hash = _of_records(generator, place, seed)
        which = f"the same held-out pictures of {place}, drawn by seed {seed} and chosen by nobody"
    else:
        given = np.stack([square(file, kind) for file in files(place)[:MOST]]).transpose(0, 3, 1, 2)
        drawn = draw({other: one for other, one in generator.takes.items() if one.random}, len(given), seed)
        values = drawn | {name: as_input(kind, given)}
        made = np.concatenate(list(generate(generator, values, at_once(generator.shape.resolution))))
        target, content_hash, which = None, "", f"the same pictures, the first of {place}"
    palette, factor = palette_of(kind), made.shape[2] // given.shape[2]
    shown = in_color(given) if palette is None else colored(given, palette)
    rows = [shown.repeat(factor, axis=2).repeat(factor, axis=3), in_color(made)]
    rows += [] if target is None else [in_color(target)]
    columns = min(COLUMNS, len(made))
    groups = (slice(first, first + columns) for first in range(0, len(made) // columns * columns, columns))
    images = np.concatenate([row[group] for group in groups for row in rows])
    below = "a row of what they are given, and below it of what each makes of it"
    below += "" if target is None else ", then of what should have come of it"
    return Sheet(
        images, columns, f"Both are given {which}, with the noise of seed {seed} where they take any: {below}.", content_hash
    )


def _of_records(generator: Generator, place: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """What a generator makes of held-out records, what it is given of them, targets where they are known, and the set's hash."""
    sampling = sampling_of(generator)
    packed = PackedDataset(place, sampling.split)
    if packed.resolution != generator.shape.resolution:
        raise PictureError(
            f"{place}: {packed.resolution} px, but a version makes {generator.shape.resolution} px; give a folder of pictures "
            "with --inputs"
        )
    sampler = sampling(generator, generator.info.classes, packed, packed, min(MOST, len(packed)), seed % SEEDS.stop)
    samples = list(sampler(at_once(generator.shape.resolution)))
    return (
        np.concatenate([one.images for one in samples]),
        np.concatenate([one.input for one in samples]),  # type: ignore[misc] # of records
        np.concatenate([one.target for one in samples]) if sampler.has_target else None,  # type: ignore[misc]
        packed.content_hash,
    )
