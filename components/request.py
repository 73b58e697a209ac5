"""What is asked of a model on the command line, as rows that the served model reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from components.postprocess import value_of

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo
    from atelier.networks.inputs import Given, LabelMap, Picture

COUNT = 16  # images where pictures do not say how many


class RequestError(AtelierError):
    """The model cannot make what was asked for; the message says what it takes."""


def takes(info: GeneratorInfo) -> str:
    """What a model takes, in words: a line for each option."""
    from atelier.models.pyfunc import random_inputs, truncates
    from atelier.networks.inputs import Label, LabelMap, Picture, Scalar
    from atelier.networks.text_and_sound import OptionalInput

    lines = ["--count N, --seed S"] if random_inputs(info) else []
    lines += ["--truncation PSI"] if truncates(info) else []
    said = {name: kind for name, kind in info.takes.items() if isinstance(kind, Scalar | OptionalInput)}
    lines += [f"--{name}, {kind.wants(info.classes)} (default: {_default(kind)})" for name, kind in said.items()]
    lines += [f"--class, of {', '.join(info.classes)}" for kind in info.takes.values() if isinstance(kind, Label)]
    lines += [f"--input {name}=PATH: {_size(kind)}" for name, kind in info.takes.items() if isinstance(kind, Picture | LabelMap)]
    return "\n".join(lines)


def _default(kind: Given) -> str:
    return "none" if kind.assumed is None or kind.assumed.said is None else f"{kind.assumed.said:g}"


def _size(kind: Picture | LabelMap) -> str:
    if kind.kind == "map":
        what = f"label maps of {', '.join(map(' '.join, zip(kind.classes, kind.colors, strict=True)))}"
    else:
        what = f"pictures in {'color' if kind.channels == 3 else 'gray'}, on {kind.background} where they are transparent"
    return f"{what}, cropped to a square in the middle and resized to {kind.resolution} px"


def records(
    info: GeneratorInfo,
    count: int | None,
    seed: int | None,
    classes: Sequence[str] | None,
    truncation: float | None,
    sharpness: float | None,
    inputs: Sequence[str],
) -> list[dict[str, Any]]:
    """A row for each image, as the served model reads it. Raises RequestError."""
    from atelier.models.pyfunc import random_inputs, truncates
    from atelier.networks.blended import SHARPNESS

    unknown = [
        option
        for option, given, taken in (
            ("--count", count, random_inputs(info)),
            ("--seed", seed, random_inputs(info)),
            ("--class", classes, info.conditional),
            ("--truncation", truncation, truncates(info)),
            ("--sharpness", sharpness, SHARPNESS in info.takes),
        )
        if given is not None and not taken
    ]
    pictures, said = _given(info, inputs)
    if unknown:
        raise RequestError(f"{unknown[0]}: this model does not take that; it takes\n{takes(info)}")
    number = count if count is not None else 1 if pictures else COUNT
    if number < 1:
        raise RequestError(f"--count is {number}; give 1 or more")
    rows: list[dict[str, Any]] = []
    for given in pictures or [{}]:
        for _ in range(number if random_inputs(info) else 1):
            row = {**said, **given}
            if random_inputs(info):
                row["seed"] = (seed or 0) + len(rows)
            if classes:
                name = classes[len(rows) % len(classes)]
                row["class"] = int(name) if name not in info.classes and name.isdecimal() else name
            if truncation is not None:
                row["truncation"] = truncation
            if sharpness is not None:
                row[SHARPNESS] = sharpness
            rows.append(row)
    return rows


def _given(info: GeneratorInfo, inputs: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The pictures of each image by input's name, and what all images share: texts, sounds and numbers.

    Where several inputs have many pictures, they go side by side. Raises RequestError, PictureError.
    """
    from atelier.models.given import files
    from atelier.networks.inputs import Label, LabelMap, Picture

    wanted = {name: kind for name, kind in info.takes.items() if isinstance(kind, Picture | LabelMap)}
    given: dict[str, list[Path]] = {}
    said: dict[str, Any] = {}
    for one in inputs:
        name, found, text = one.partition("=")
        kind = info.takes.get(name)
        if name in wanted and found:
            given.setdefault(name, []).extend(files(Path(text)))
        elif not isinstance(kind, Label) and (value := value_of(kind, text)) is not None:
            said[name] = value
        else:
            raise RequestError(f"--input {one}: nothing that this model takes; it takes\n{takes(info)}")
    if missing := [name for name in wanted if name not in given]:
        raise RequestError(f"this model needs --input {missing[0]}=PATH; it takes\n{takes(info)}")
    longest = max(map(len, given.values()), default=0)
    if uneven := [name for name, several in given.items() if len(several) not in (1, longest)]:
        raise RequestError(
            f"--input {uneven[0]}: {len(given[uneven[0]])} pictures beside {longest} of another; give 1, or {longest}"
        )
    return [{name: several[n % len(several)] for name, several in given.items()} for n in range(longest)], said
