"""The run form of Kubeflow Pipelines, and how what it says reaches the tasks.

The form asks for the keys that `cluster.form` names, each with its type and choices from the settings' classes, and
for `overrides`, which takes any other key of params.yaml ({"train.beta1": 0.5}). Names are the key's path joined by "_"
(train.seed -> train_seed). The task `check` merges both with the project's own values; a task gets what it reads as one value
from there, so it sees no field of the form.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from atelier.config.section import Section, SettingsError, below, parse, replaced
from pipelines.project import SECTIONS, ProjectSettings

TRIED, TRIALS = ("model", "train"), "sweep_trials"  # sections that a sweep varies, and the parameter that lists how
OVERRIDES = "overrides"
EXPERIMENT = "registry.experiment"
MOST = 24  # fields that people still read
# Keys of what tasks are made from, which no run can change any more.
GRAPH = re.compile(r"(train|finetune)\.data(\..+)?|products\.\w+\.(trained_by|data)|cluster\.form")


@dataclass(frozen=True)
class Leaf:
    """A field of the form: `key` is its path ("train.seed"), `choices` is empty where any value of `type` is taken."""

    key: str
    type: type
    default: Any
    choices: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Name of the pipeline parameter."""
        return parameter(self.key)


def parameter(key: str) -> str:
    """Name of the pipeline parameter of a key: train.seed -> train_seed."""
    return key.replace(".", "_")


def leaves(settings: ProjectSettings) -> dict[str, Leaf]:
    """The fields of a project's form by their keys, in the order of `cluster.form`. Raises SettingsError."""
    chosen = settings.cluster.form
    if len(chosen) >= MOST:
        raise SettingsError(
            f"cluster.form: {len(chosen)} keys and {OVERRIDES}, more than the {MOST} fields that people still read"
        )
    return {key: _leaf(key, settings) for key in chosen}


def _leaf(key: str, settings: ProjectSettings) -> Leaf:
    *path, name = key.split(".")
    section: Any = settings
    for part in path:
        section = section.get(part) if isinstance(section, dict) else getattr(section, part, None)
    field = type(section).model_fields.get(name) if isinstance(section, Section) else None
    if field is None or getattr(section, name) is None or below(field.annotation)[0]:
        raise SettingsError(
            f"cluster.form: {key} is no value of params.yaml or cluster.yaml; `python -m atelier.config explain {key}`"
        )
    if GRAPH.fullmatch(key):
        raise SettingsError(f"cluster.form: {key} is compiled into the pipeline, where no run can change it; take it out")
    value = value_at(settings.plain(), key)
    return Leaf(key, type(value), value, _choices(field))


def value_at(values: Any, key: str) -> Any:
    """The value of a dotted key in nested mappings."""
    for part in key.split("."):
        values = values[part]
    return values


def filled(settings: ProjectSettings, project: ProjectSettings) -> dict[str, Any]:
    """The form by which a run of `project` has `settings`: parameter name -> value. Raises SettingsError where none could."""
    wanted, own = settings.plain(), project.plain()
    _check_graph(wanted, own, "--set")
    asked = {parameter(key): value_at(wanted, key) for key in leaves(project)}
    return {**asked, OVERRIDES: {key: value for key, value, _ in differences(wanted, own) if key not in project.cluster.form}}


def differences(wanted: Any, own: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys and values of `wanted` that are others in `own`, with those (None where it has none)."""
    if not (isinstance(wanted, dict) and isinstance(own, dict) and own.keys() <= wanted.keys()):
        yield from [(prefix, wanted, own)] if wanted != own else []
        return
    for key, value in wanted.items():
        yield from differences(value, own.get(key), f"{prefix}.{key}" if prefix else key)


def merged(project: Mapping[str, Any], form: Mapping[str, Any], overrides: Mapping[str, Any]) -> ProjectSettings:
    """The settings of a run: the project's values with those of the form and the overrides, by keys. Raises SettingsError."""
    if not isinstance(overrides, Mapping):
        raise SettingsError(
            f'{OVERRIDES}: should be keys with their values, such as {{"train.beta1": 0.5}}, but it is {overrides!r}'
        )
    values: Any = dict(project)
    for key, value in {**form, **overrides}.items():
        asked = next((one for one in form if f"{one}.".startswith(f"{key}.")), None) if key in overrides else None
        if asked:
            raise SettingsError(f"{OVERRIDES}: {asked} is a field of the form, {parameter(asked)}; say it there, not in {key}")
        if fixed(key, form):
            raise _compiled(key, OVERRIDES)
        try:
            values = replaced(values, key.split("."), value)
        except KeyError:
            raise SettingsError(f"{OVERRIDES}: {key} is no key of params.yaml; write SECTION.KEY, such as train.beta1") from None
    settings = parse(natural(ProjectSettings, values), ProjectSettings, origin="the run's parameters")
    _check_graph(settings.model_dump(mode="json"), project, OVERRIDES)
    return settings


def fixed(key: str, form: Collection[str]) -> bool:
    """Whether a key says where tasks run or keep their records, which is compiled in unless the form asks for it."""
    placement = key == "cluster" or (key.startswith("cluster.") and key != "cluster.states")
    return key not in form and (placement or f"{EXPERIMENT}.".startswith(f"{key}."))


def _compiled(key: str, where: str) -> SettingsError:
    return SettingsError(f"{where}: {key} is compiled into the pipeline; set it in the project's file and compile it again")


def _check_graph(wanted: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    """Refuses values by which there were other tasks than the project's, or between other ones. Raises SettingsError."""
    there, here = _graph(own), _graph(wanted)
    if changed := [key for key in {**there, **here} if there.get(key) != here.get(key)]:
        raise _compiled(changed[0], where)


def _graph(values: Mapping[str, Any]) -> dict[str, Any]:
    """What says which tasks there are, and which of them give to which, by keys."""
    read = {f"{name}.data": values[name]["data"] for name in ("train", "finetune") if values.get(name)}
    made = {f"products.{key}": (one["trained_by"], one.get("data")) for key, one in values["products"].items()}
    return {"data": set(values["data"]), **read, **made}


def natural(section: type[Section], values: Any) -> Any:
    """Plain values as their settings want them: KFP hands every number in a mapping over as a float.

    What is not of the setting's type stays as it is, for the validation to refuse.
    """
    if not isinstance(values, Mapping):
        return _whole(section.model_fields[section.short].annotation, values) if section.short else values
    found: dict[str, Any] = {}
    for key, value in values.items():
        field, others = section.model_fields.get(key), section.found()
        held, named = below(field.annotation) if field else (others.get(key), False)
        if held and named and isinstance(value, Mapping):
            found[key] = {name: natural(held, one) for name, one in value.items()}
        elif held:
            found[key] = natural(held, value)
        else:
            found[key] = _whole(field.annotation, value) if field else value
    return found


def tried(section: str, values: dict[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a section with those of a trial of a sweep ({"train.seed": 1}) in their place. Raises SettingsError."""
    for key, value in trial.items():
        name, *path = key.split(".")
        if name not in TRIED or not path:
            raise SettingsError(f"trial {key}: no such key; a sweep varies what is in {' and '.join(TRIED)}, such as train.seed")
        if GRAPH.fullmatch(key):
            raise _compiled(key, "trial")
        if name == section:
            values = replaced(values, path, value)
    changed = natural(SECTIONS[section], values)
    parse(changed, SECTIONS[section], origin="the trial", prefix=section)
    return dict(changed)


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _whole(annotation: Any, value: Any) -> Any:
    """A whole number as an integer where the setting is one, or several of them."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(value, list) and origin is list:
        return [_whole(parts[0], item) for item in value]
    if isinstance(value, Mapping) and origin is dict:
        return {key: _whole(parts[1], item) for key, item in value.items()}
    kinds = _kinds(annotation)
    return int(value) if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer() else value


def _kinds(annotation: Any) -> set[Any]:
    """The types of a setting's values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(choice) for choice in parts}
    if origin is Annotated:
        return _kinds(parts[0])
    return set().union(*map(_kinds, parts)) if origin in (Union, UnionType) else {origin or annotation}
