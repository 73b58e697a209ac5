"""What params.yaml may say, in words: one key for `explain`, all of them as docs/parameters.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from atelier.config.cluster import ClusterSettings
from atelier.config.section import NAME, Section, SettingsError, fields
from atelier.config.settings import NAMED, SECTIONS

HEAD = """# Parameters

Every key of `params.yaml`, and those of `cluster.yaml`, from the settings' classes (`python -m atelier.config reference` writes
this page, a test holds it to them). `python -m atelier.config explain train.r1` prints one. The value is that of the digits, the
project of `make demo`, or the default of a key that they leave out.
"""
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}  # as pydantic names bounds
DESCRIBED: dict[str, type[Section]] = {**SECTIONS, "cluster": ClusterSettings}
LIKE = {"finetune": "train"}  # sections whose keys another one explains


@dataclass(frozen=True)
class Several:
    """The values that a key has in several entries, as text."""

    values: tuple[str, ...]


def explain(key: str, values: Mapping[str, Any]) -> str:
    """What a key means, what it may be and what it is in `values` (dotted keys), in a few lines. Raises SettingsError."""
    known = all_keys()
    if (declared := _declared(key)) in known:
        field = known[declared]
        return f"{key}: {field.description}\nallowed: {allowed(field)}\nhere: {shown(_value(values, key, field))}"
    section, _, leaf = key.partition(".")
    if len(short := [name for name in known if leaf and name.startswith(f"{section}.") and name.endswith(f".{leaf}")]) == 1:
        return explain(short[0], values)
    below = [name for name in known if name.startswith(f"{declared}.")]
    if below:
        return "\n".join(f"{name}: {known[name].description}" for name in below)
    near = [name for name in known if name.rpartition(".")[2] == key][:3] or difflib.get_close_matches(key, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the sections are {', '.join(DESCRIBED)}"
    raise SettingsError(f"{key}: no such key; {hint}")


def all_keys() -> dict[str, FieldInfo]:
    """Every key of both files, with its type, bounds and description."""
    return {f"{name}.{key}": field for name in DESCRIBED for key, field in _fields(name)}


def _fields(section: str) -> Iterator[tuple[str, FieldInfo]]:
    """The keys below a section; NAME stands for the name of an entry."""
    prefix = f"{NAME}." if section in NAMED else ""
    return ((f"{prefix}{key}", field) for key, field in fields(DESCRIBED[section]))


def _declared(key: str) -> str:
    """A key as it is declared: data.base.source -> data.NAME.source."""
    named, declared = _named(), ""
    for part in key.split("."):
        declared = f"{declared}.{NAME if declared in named else part}".removeprefix(".")
    return declared


@cache
def _named() -> frozenset[str]:
    """The sections that have an entry for each of several names, as they are declared."""
    paths = [key.split(".") for key in all_keys()]
    return frozenset(".".join(path[:place]) for path in paths for place, part in enumerate(path) if part == NAME)


def page(values: Mapping[str, Any]) -> str:
    """docs/parameters.md: a table for each section, with the values that `values` has (dotted keys)."""
    return HEAD + "".join(_section(name, section, values) for name, section in DESCRIBED.items())


def _section(name: str, section: type[Section], values: Mapping[str, Any]) -> str:
    lines = [f"\n## {name}\n", (section.__doc__ or "").splitlines()[0]]
    like = LIKE.get(name)
    if like:
        lines.append(f"\nThe other keys are those of [{like}](#{like}); these differ, or are its own:")
    lines += ["\n| key | value | allowed | what it is |", "|---|---|---|---|"]
    for key, field in _fields(name):
        value = _value(values, f"{name}.{key}", field)
        if not like or value != _value(values, f"{like}.{key}", field):
            lines.append(f"| `{key}` | `{shown(value)}` | {allowed(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _value(values: Mapping[str, Any], key: str, field: FieldInfo) -> Any:
    """The value of a key, its default where params.yaml leaves it out, None for what is off; of NAME those of all entries."""
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if NAME not in key.split("."):
        return values.get(key, default)
    entries = [value for name, value in values.items() if _declared(name) == key]
    return Several(tuple(dict.fromkeys(map(shown, entries)))) if entries else default


def allowed(field: FieldInfo) -> str:
    """The type and the bounds of a key in words."""
    return _type(field.annotation, field.metadata)


def _type(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        return _type(annotation, [*metadata, *more])
    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (UnionType, Union):
        return " or ".join(_type(one, []) for one in get_args(annotation) if one is not type(None))
    kind = get_origin(annotation) or annotation
    word = WORDS[kind]
    if kind is list:
        (item,) = get_args(annotation)
        word += f" of: {_type(item, [])}"
    return " ".join([word, *_bounds(metadata)])


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for bound in (bound for one in metadata for bound in getattr(one, "metadata", [one])):
        yield from (f"{sign} {getattr(bound, name)}" for name, sign in SIGNS.items() if hasattr(bound, name))
        if hasattr(bound, "min_length"):
            yield "(not empty)"


def shown(value: Any) -> str:
    """A value as YAML has it in one line."""
    if isinstance(value, Several):
        return " or ".join(value.values)
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(item)}' for key, item in value.items())}}}"
    return str(value)
