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

from pydantic.fields import FieldInfo

from atelier.config.section import Section, SettingsError, fields, parse, replaced
from pipelines.project import SECTIONS, ProjectSettings, load

TRIED = ("model", "train")
FAMILY = "family"  # key of the form for the section of the chosen architecture, whichever that is
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
    settings = load(params, placed=False)
    return {key: _leaf(key, _field(key, settings), value) for key, value in _values(settings).items()}


def _field(key: str, settings: ProjectSettings) -> FieldInfo:
    section, _, name = key.partition(".")
    if name == FAMILY:
        title = f"settings of {settings.model.architecture} (another architecture has others); what is left out has its default"
        return FieldInfo(annotation=dict[str, Any], description=title)
    return SECTIONS[section].model_fields[name]


def _leaf(key: str, field: FieldInfo, value: Any) -> Leaf:
    return Leaf(key, _type(field.annotation), value, field.description or "", _choices(field.annotation))


def filled(settings: ProjectSettings) -> dict[str, Any]:
    """The form with the values of `settings`: parameter name -> value."""
    return {parameter(key): value for key, value in _values(settings).items()}


def _values(settings: ProjectSettings) -> dict[str, Any]:
    """The values of the form by its keys."""
    values = settings.model_dump(mode="json")
    values["model"][FAMILY] = settings.model.family.model_dump(mode="json")
    return {f"{section}.{key}": values[section][key] for section in SECTIONS for key in keys(section)}


def kind(key: str) -> type:
    """Type of a key's pipeline parameter, such as int for train.seed."""
    section, _, name = key.partition(".")
    return dict if name == FAMILY else _type(SECTIONS[section].model_fields[name].annotation)


def keys(section: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Keys of a section in the form ("train" -> "seed", "images", ...), all or the `allowed` ones."""
    found = [*SECTIONS[section].model_fields, *([FAMILY] if section == "model" else [])]
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
        place[leaf] = _natural(annotations.get(key), value)
    if section == "model" and FAMILY in result:
        family, own = result["architecture"], result.pop(FAMILY)
        natural = {key: _natural(annotations.get(f"{family}.{key}"), value) for key, value in dict(own).items()}
        result[family] = natural
    return result


def tried(settings: dict[str, Any], trial: dict[str, Any]) -> dict[str, Any]:
    """The sections with those of a trial of a sweep ({"train.seed": 1}) in their place. Raises SettingsError."""
    values = {section: settings[section].model_dump(mode="json") for section in TRIED}
    annotations = _annotations(ProjectSettings)
    for key, value in trial.items():
        section, *path = key.split(".")
        if section not in TRIED or not path:
            raise SettingsError(f"trial {key}: no such key; a sweep varies what is in {' and '.join(TRIED)}, such as train.seed")
        values = replaced(values, [section, *path], _natural(annotations.get(key), value))
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
    kind = get_origin(annotation) or annotation
    return dict if issubclass(kind, Section) else kind


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
