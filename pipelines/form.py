"""params.yaml as the run form of Kubeflow Pipelines: one typed parameter for each value of the file.

Names are the key's path joined by "_" (train.seed -> train_seed), defaults are the file's values; descriptions, types and
choices are those of the settings' classes. Nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from atelier.config.section import Section, SettingsError, fields, parse, values_of
from atelier.config.settings import SECTIONS, Settings, load

TRIED = ("model", "train")
PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"


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
    """Every value of params.yaml by its key, in the order of the settings' classes. Raises SettingsError if it is not valid."""
    defaults = dict(values_of(load(params)))
    return {
        key: Leaf(key, _type(field.annotation), defaults[key], field.description or "", _choices(field.annotation))
        for key, field in fields(Settings)
    }


def filled(settings: Settings) -> dict[str, Any]:
    """The form with the values of `settings`: parameter name -> value."""
    return {parameter(key): value for key, value in values_of(settings)}


def kind(key: str) -> type:
    """Type of a key's pipeline parameter, such as int for train.seed."""
    return _type(_annotations(Settings)[key])


def keys(section: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Keys of a section of the settings ("train" -> "seed", "images", ...), all or the `allowed` ones."""
    found = [key for key, _ in fields(SECTIONS[section])]
    return [key for key in found if not allowed or key in allowed]


def plain(section: str, given: dict[str, Any]) -> dict[str, Any]:
    """Nested plain values of a section from `given`, which maps its dotted keys to what a pipeline parameter carried.

    Whatever arrives that is not of the setting's type stays as it is, for the validation to refuse.
    """
    annotations = _annotations(SECTIONS[section])
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
    annotations = _annotations(Settings)
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


@lru_cache
def _annotations(section: type[Section]) -> dict[str, Any]:
    return {key: field.annotation for key, field in fields(section)}


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
