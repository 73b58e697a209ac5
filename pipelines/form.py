"""params.yaml as the run form of Kubeflow Pipelines: one typed parameter for each value of the file.

Names are the key's path joined by "_" (train.seed -> train_seed), defaults are the file's values, descriptions its
comments (one that begins with "as train.seed" says first what train.seed says), types and choices come from
atelier.config.settings. Nothing is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from atelier.config.settings import SECTIONS, Section, Settings, SettingsError, load, parse

TRIED = ("model", "train")
PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
REFERENCE = re.compile(r"^as ([a-z_0-9]+(?:\.[a-z_0-9]+)+)")


@dataclass(frozen=True)
class Leaf:
    """One value of params.yaml: `key` is its path ("train.seed"), `choices` is empty where any value of `type` is taken."""

    key: str
    type: type
    default: Any
    description: str
    choices: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Name of the pipeline parameter."""
        return parameter(self.key)


def parameter(key: str) -> str:
    """Name of the pipeline parameter of a key: train.seed -> train_seed."""
    return key.replace(".", "_")


@lru_cache
def leaves(params: Path = PARAMS) -> dict[str, Leaf]:
    """Every value of params.yaml by its key, in the order of the file. Raises SettingsError if the file is not valid."""
    settings = load(params)
    defaults = dict(_values(settings))
    annotations = dict(_annotations(Settings))
    comments = dict(_comments(YAML().load(params.read_text(encoding="utf-8")), annotations))
    return {
        key: Leaf(key, _type(annotations[key]), defaults[key], _sentence(key, comments), _choices(annotations[key]))
        for key in comments
    }


def filled(settings: Settings) -> dict[str, Any]:
    """The form with the values of `settings`: parameter name -> value."""
    return {parameter(key): value for key, value in _values(settings)}


def keys(section: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Keys of a section of the settings ("train" -> "seed", "images", ...), all or the `allowed` ones."""
    found = [key for key, _ in _annotations(SECTIONS[section])]
    return [key for key in found if not allowed or key in allowed]


def plain(section: str, given: dict[str, Any]) -> dict[str, Any]:
    """Nested plain values of a section from `given`, which maps its dotted keys to what a pipeline parameter carried.

    Whatever arrives that is not of the setting's type stays as it is, for the validation to refuse.
    """
    annotations = dict(_annotations(SECTIONS[section]))
    result: dict[str, Any] = {}
    for key, value in given.items():
        *parents, leaf = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = _natural(annotations[key], value)
    return result


def tried(settings: dict[str, Any], trial: dict[str, Any]) -> dict[str, Any]:
    """The sections with those of a trial of a sweep ({"train.seed": 1}) in their place. Raises SettingsError."""
    values = {section: settings[section].model_dump(mode="json") for section in TRIED}
    annotations = dict(_annotations(Settings))
    for key, value in trial.items():
        *parents, leaf = key.split(".")
        place: Any = values if parents else None
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise SettingsError(f"trial {key}: no such key; a sweep varies what is in {' and '.join(TRIED)}, such as train.seed")
        place[leaf] = _natural(annotations.get(key), value)
    parsed = {name: parse(values[name], SECTIONS[name], origin="the trial", prefix=name) for name in TRIED}
    return {**settings, **parsed}


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings; lists are values."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _values(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values; a mapping that is one setting stays whole."""
    plain_values = section.model_dump(mode="json")
    for name, value in section:
        if isinstance(value, Section):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain_values[name]


def _annotations(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _annotations(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.annotation


def _comments(values: CommentedMap, settings: Container[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of `settings` in the file's order, each with the comment at the end of its line."""
    for key, value in values.items():
        if isinstance(value, CommentedMap) and f"{prefix}{key}" not in settings:
            yield from _comments(value, settings, f"{prefix}{key}.")
        else:
            token = values.ca.items.get(key, [None] * 3)[2]
            if token is None and isinstance(value, CommentedMap | CommentedSeq):  # with a line for each item
                token = (value.ca.comment or [None])[0]
            yield f"{prefix}{key}", token.value.splitlines()[0].lstrip("# ").strip() if token else ""


def _sentence(key: str, comments: dict[str, str]) -> str:
    """The comment of a key; the sentence it points at takes the place of the pointer."""
    reference = REFERENCE.match(comments[key])
    if reference is None:
        return comments[key]
    return _sentence(reference[1], comments) + comments[key][reference.end() :]


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _type(annotation: Any) -> type:
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    return get_origin(annotation) or annotation


def _natural(annotation: Any, value: Any) -> Any:
    """KFP hands every number in a list or a mapping over as a float: whole ones become integers where the setting is one."""
    if isinstance(value, list) and _is_list_of_int(annotation):
        return [_natural(int, item) for item in value]
    return int(value) if annotation is int and isinstance(value, float) and value.is_integer() else value


def _is_list_of_int(annotation: Any) -> bool:
    """Whether the setting is a list of (bounded) integers: list[Annotated[int, ...]]."""
    if get_origin(annotation) is not list:
        return False
    (item,) = get_args(annotation)
    return (get_args(item)[0] if hasattr(item, "__metadata__") else item) is int
