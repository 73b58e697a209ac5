"""A second model after a first one: it is given each image of the first as its picture, beside what the command line says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atelier.errors import AtelierError
from atelier.io.files import atomic_write

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo
    from atelier.networks.inputs import Given

Make = Callable[[Any, Sequence[Mapping[str, Any]], Sequence[Path]], list[dict[str, Any]]]
Read = Callable[[Any, Sequence[Mapping[str, Any]]], Any]


class PostprocessError(AtelierError):
    """The second model cannot be given what was asked for; the message says what it takes."""


def given_of(info: GeneratorInfo, options: Sequence[str]) -> dict[str, Any]:
    """What a second model is given beside an image, by its input's name, of NAME=VALUE. Raises PostprocessError, PictureError."""
    from atelier.models.given import files
    from atelier.networks.inputs import LabelMap, Picture

    found: dict[str, Any] = {}
    names = {kind.column(name): kind for name, kind in info.takes.items()}
    for option in options:
        name, _, text = option.partition("=")
        kind = names.get(name)
        if isinstance(kind, Picture | LabelMap):
            several = files(Path(text))
            if len(several) > 1:
                raise PostprocessError(f"--{name} {text}: {len(several)} pictures; give one, for all images")
            found[name] = several[0]
        elif (value := value_of(kind, text)) is not None:
            found[name] = value
        else:
            raise PostprocessError(f"--{name} {text}: the second model takes {words(info)}")
    return found


def value_of(kind: Given | None, text: str) -> Any:
    """What a row says of an input that is no picture, of the text of an option; None where it takes something else.

    A recording is a file.
    """
    from atelier.networks.inputs import Label, Scalar, Sound, Text

    if isinstance(kind, Scalar):
        return float(text) if _is_number(text) else None
    if isinstance(kind, Sound):
        return Path(text) if Path(text).is_file() else None
    return text if isinstance(kind, Label | Text) else None


def picture_of(info: GeneratorInfo, given: Mapping[str, Any]) -> str:
    """The input that the images become: the one that has to be given, and is not. Raises PostprocessError."""
    from atelier.networks.inputs import Picture, required

    missing = [name for name in required(info.takes) if name not in given]
    if len(missing) != 1 or not isinstance(info.takes[missing[0]], Picture):
        options = ", ".join(f"--{name}" for name in missing) or "nothing"
        raise PostprocessError(
            f"--then: {options} is left to be given, and the images become one picture; the second model takes {words(info)}"
        )
    return missing[0]


def words(info: GeneratorInfo) -> str:
    """What a second model takes, as options."""
    return ", ".join(f"--{kind.column(name)} ({kind.wants(info.classes)})" for name, kind in info.takes.items())


def then(make: Make, second: Any, given: Mapping[str, Any], read: Read) -> Make:
    """`make`, and then the second model on each file that it writes, in its place; `read` understands rows of it."""
    from atelier.models.pyfunc import picture, random_inputs
    from atelier.provenance.leaving import labelled

    name = picture_of(second.info, given)

    def both(served: Any, records: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> list[dict[str, Any]]:
        first = make(served, records, files)
        random = random_inputs(second.info)
        rows = [
            {**given, name: file, **({"seed": record.get("seed", 0)} if random else {})}
            for record, file in zip(records, files, strict=True)
        ]
        understood = read(second, rows)
        said = [about | {"then": row.about} for about, row in zip(first, understood, strict=True)]
        weights = {"weights": second.generator.sha256}
        for row, about, image, file in zip(rows, said, second.generate(understood), files, strict=True):
            atomic_write(file, labelled(picture(image), weights | about, contents(row)))
        return said

    return both


def contents(record: Mapping[str, Any]) -> dict[str, bytes]:
    """The picture files of a row, by name of input: as they were given, whose marks of origin an image of them keeps."""
    return {name: value.read_bytes() for name, value in record.items() if isinstance(value, Path)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
