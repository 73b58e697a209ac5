"""What every section of params.yaml is: typed, strict, and refused with the key's path and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from atelier.errors import AtelierError

PositiveInt = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
SHOWN = 500  # characters of a value or a reason in a message
LISTED = 20  # problems in a message
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
SEEDS = range(-(2**63), 2**63)  # of images: the integers of 64 bits with a sign, MLflow's type of that column
SEEDS_TEXT = f"a whole number from {SEEDS.start} to {SEEDS.stop - 1}"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # of a set or a product: it is part of names of stages and parameters
RegisteredName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # of what is in the model registry
NAME = "NAME"  # stands in a key for the name of any entry


class SettingsError(AtelierError):
    """params.yaml (or an override of it) says something that cannot be done; the message names the key and the remedy."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)

    short: ClassVar[str] = ""  # key whose value may stand for the whole section

    def plain(self) -> dict[str, Any]:
        """Its values as JSON has them, without what is not set."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def found(cls) -> dict[str, type[Section]]:
        """Sections that may stand here beside the declared keys, by the names under which they are found."""
        return {}


S = TypeVar("S", bound=Section)


def below(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, None where it holds a value, and whether it has one for each of several names."""
    named = get_origin(annotation) is dict
    inner = get_args(annotation)[1] if named else annotation
    held = next((one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, Section)), None)
    return held, named and held is not None


def fields(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key below a section ("dcgan.width"), with its type, bounds and description: the declared ones, then the found.

    Those of a section with an entry for each name have NAME in its place ("data.NAME.source").
    """
    for name, field in section.model_fields.items():
        held, named = below(field.annotation)
        if held:
            yield from fields(held, f"{prefix}{name}.{NAME}." if named else f"{prefix}{name}.")
        else:
            yield _key(section, prefix, name), field
    for name, found in section.found().items():
        yield from fields(found, f"{prefix}{name}.")


def values_of(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of `fields` with their plain values; a mapping that is one setting stays whole."""
    for name, value in section:
        if isinstance(value, Section):
            yield from values_of(value, f"{prefix}{name}.")
        elif below(type(section).model_fields[name].annotation)[1]:
            for entry, held in value.items():
                yield from values_of(held, f"{prefix}{name}.{entry}.")
        elif value is not None:
            yield _key(type(section), prefix, name), value


def _key(section: type[Section], prefix: str, name: str) -> str:
    return prefix.removesuffix(".") if name == section.short else f"{prefix}{section.model_fields[name].alias or name}"


def parse(values: Any, section: type[S], origin: str, prefix: str = "") -> S:
    """Validates plain values as `section`; `prefix` is prepended to key paths in messages. Raises SettingsError."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        found = [_explain(item, section, origin, prefix) for item in error.errors()]
        more = [f"{origin}: and {len(found) - LISTED} more"] if len(found) > LISTED else []
        raise SettingsError("\n".join(found[:LISTED] + more)) from error


def first_problem(error: ValidationError) -> str:
    """Where the first problem is, and what: for files of ours, which nobody should have edited."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'at the top'}: {first['msg']}"


def _explain(item: Any, section: type[Section], origin: str, prefix: str) -> str:
    """One pydantic error as a line: the origin, the key's path (none at the top), what is wrong, what is allowed."""
    path = [str(part) for part in item["loc"]]
    key = ".".join(([prefix] if prefix else []) + path)
    where = f"{origin}: {key}" if key else origin
    kind, given = item["type"], item["input"]
    if kind == "extra_forbidden":
        known = _siblings(section, path)
        deeper = [key for key, _ in fields(_at(section, path)) if key.endswith(f".{path[-1]}")]
        near = deeper or difflib.get_close_matches(path[-1], known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        return f"{where}: unknown key; {meant}allowed here: {', '.join(known)}"
    if path[-1:] == ["[key]"]:
        return f"{where.removesuffix('.[key]')}: is no name; write small letters, digits and _, and begin with a letter"
    if kind == "missing":
        return f"{where}: missing; add it (git show HEAD:params.yaml has an example)"
    if kind == "value_error":
        return f"{where}: {_cut(str(item['ctx']['error']))}"
    if kind == "model_type":
        keys = ", ".join(_siblings(section, [*path, ""]))
        return f"{where}: should hold {keys}, each with its value, but it is {_cut(repr(given))}"
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{where}: {message.removeprefix('input ')}, but it is {_cut(repr(given))}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _siblings(section: type[Section], path: list[str]) -> list[str]:
    above = _at(section, path)
    return sorted([*(field.alias or name for name, field in above.model_fields.items()), *above.found()])


def _at(section: type[Section], path: list[str]) -> type[Section]:
    """The section in which the last part of a path is a key."""
    parts = iter(path[:-1])
    for part in parts:
        field, found = section.model_fields.get(part), section.found()
        held, named = below(field.annotation) if field else (found.get(part), False)
        if named and next(parts, None) is None:  # the last part is the name of an entry
            break
        if held is None:
            break
        section = held
    return section


def replaced(values: Any, path: Sequence[str], value: Any) -> Any:
    """`values` with `value` at a path; mappings on the way are made where they are missing, nothing of `values` changes.

    Raises KeyError naming the part of the path that holds a value and no keys.
    """
    if not path:
        return value
    if not isinstance(values, dict):
        raise KeyError
    head, *rest = path
    return {**values, head: replaced(values.get(head, {}) if rest else None, rest, value)}
