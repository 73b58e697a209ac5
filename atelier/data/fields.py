"""The fields of a record as a source has them: settings -> what packing processes, in which order."""

from __future__ import annotations

from atelier.config.data import ANNOTATIONS, HALVES, IMAGE, DataSettings, FieldSettings
from atelier.data.process import RecordField
from atelier.io.label_maps import Legend


def record_fields(settings: DataSettings) -> tuple[RecordField, ...]:
    """The fields of a set in the order in which its records hold them: by name, whatever order params.yaml has."""
    if not settings.fields:
        return (RecordField(IMAGE, settings.channels),)
    halves = halved(settings)
    return tuple(
        RecordField(
            name,
            _channels(field, settings),
            place="" if halves else place_of(name, settings),
            half=place_of(name, settings) if halves else "",
            legend=legend_of(field) if field.kind == "map" else None,
            scale=field.scale or 1,
            kind=field.kind,
            words=field.words or "",
            sha256=field.sha256 or "",
        )
        for name, field in sorted(settings.fields.items())
    )


def _channels(field: FieldSettings, settings: DataSettings) -> int:
    if field.kind in ANNOTATIONS:
        return 0
    return 1 if field.kind == "map" else field.channels or settings.channels


def legend_of(field: FieldSettings) -> Legend:
    """What the pixels of a map mean. Classes go by their names, or by their values, whatever order params.yaml has."""
    marks = {name: _mark(value) for name, value in field.classes.items()}
    ignored = None
    if field.ignore is not None:
        ignored = marks.pop(field.ignore) if isinstance(field.ignore, str) and field.ignore in marks else _mark(field.ignore)
    indexed = any(isinstance(value, int) for value in field.classes.values())
    order = sorted(marks, key=marks.__getitem__) if indexed else sorted(marks)
    return Legend(tuple(order), tuple(marks[name] for name in order), indexed, ignored)


def _mark(value: str | int) -> int:
    return value if isinstance(value, int) else int(value.removeprefix("#"), 16)


def place_of(name: str, settings: DataSettings) -> str:
    """Where the source has a field."""
    return settings.fields[name].place or name


def halved(settings: DataSettings) -> bool:
    """Whether fields are halves of pictures that stand side by side."""
    return settings.source != "parquet" and any(place_of(name, settings) in HALVES for name in settings.fields)
