"""The pictures that translators of two versions are both given when they are compared: held-out records, or picture files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atelier.config.data import TARGET
from atelier.config.section import SEEDS
from atelier.data.manifest import NAME
from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.io.pictures import colored, in_color
from atelier.models.given import PictureError, files, square
from atelier.models.model import at_once, generate
from atelier.networks.base import Generator
from atelier.networks.inputs import LabelMap, Picture, draw
from atelier.tasks.records import RecordSampler, as_input, input_field, palette_of

COLUMNS, GROUPS = 10, 3  # so many pictures beside each other, in so many groups of rows


def place_of(version: str, name: str, parameters: Mapping[str, Any]) -> Path:
    """The packed set whose held-out records the version `name` was measured by: data/SET of the project in this folder.

    `parameters` are those that were kept with it. Raises PictureError where they name none, or it is not here.
    """
    products = parameters.get("products", {}).values()
    of = next((product for product in products if product.get("name") == name), {})
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
    """Rows of what a generator is given, of what it makes of it and, where the set has them, of targets.

    The seed draws which held-out records of a packed set, and the noise. Of picture files the first are taken. Label maps are in
    the colors of their classes. Raises PictureError, DataError, SettingsError.
    """
    read = {name: kind for name, kind in generator.takes.items() if isinstance(kind, Picture | LabelMap)}
    if sum(not kind.random for kind in generator.takes.values()) != len(read) or len(read) > 1:
        raise PictureError(f"a version takes {', '.join(generator.takes)}: only what takes one picture or label map is compared")
    ((name, kind),) = read.items()
    given, targets, which, content_hash = _read(place, generator, kind, seed)
    columns = min(COLUMNS, len(given))
    count = len(given) // columns * columns
    drawn = draw({other: one for other, one in generator.takes.items() if one.random}, count, seed)
    values = drawn | {name: as_input(kind, given[:count])}
    made = np.concatenate(list(generate(generator, values, at_once(generator.shape.resolution))))
    palette = palette_of(kind)
    rows = [in_color(given) if palette is None else colored(given, palette), in_color(made)]
    rows += [] if targets is None else [in_color(targets)]
    beside = "a row of what they are given, and below it of what each makes of it"
    beside += "" if targets is None else ", then of what should have come of it"
    groups = (slice(first, first + columns) for first in range(0, count, columns))
    images = np.concatenate([row[group] for group in groups for row in rows])
    caption = f"Both are given {which}, with the noise of seed {seed} where they take any: {beside}."
    return Sheet(images, columns, caption, content_hash)


def _read(
    place: Path, generator: Generator, kind: Picture | LabelMap, seed: int
) -> tuple[np.ndarray, np.ndarray | None, str, str]:
    """What is given, uint8 [N, C, H, W], the targets where they are known, what these pictures are, and the hash of their set."""
    most = COLUMNS * GROUPS
    if not (place / NAME).is_file():
        given = np.stack([square(file, kind) for file in files(place)[:most]])
        return given.transpose(0, 3, 1, 2), None, f"the same pictures, the first of {place}", ""
    packed = PackedDataset(place, "test")
    RecordSampler.check_given(generator.takes, packed)
    if packed.resolution != kind.resolution:
        raise PictureError(
            f"{place}: {packed.resolution} px, but a version takes {kind.resolution} px; give a folder of pictures with --inputs"
        )
    records = packed.read(positions(seed % SEEDS.stop, len(packed), 0, min(most, len(packed))))
    which = f"the same held-out pictures of {place}, drawn by seed {seed} and chosen by nobody"
    return records[input_field(packed.fields)], records.get(TARGET), which, packed.content_hash
