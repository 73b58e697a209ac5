"""The fields of a record as a source has them: settings -> what packing processes, in which order."""

from __future__ import annotations

from atelier.config.data import HALVES, IMAGE, DataSettings
from atelier.data.process import RecordField


def record_fields(settings: DataSettings) -> tuple[RecordField, ...]:
    """The fields of a set in the order in which its records hold them: by name, whatever order params.yaml has."""
    if not settings.fields:
        return (RecordField(IMAGE, settings.channels),)
    halves = halved(settings)
    return tuple(
        RecordField(
            name,
            field.channels or settings.channels,
            place="" if halves else place_of(name, settings),
            half=place_of(name, settings) if halves else "",
        )
        for name, field in sorted(settings.fields.items())
    )


def place_of(name: str, settings: DataSettings) -> str:
    """Where the source has a field."""
    return settings.fields[name].place or name


def halved(settings: DataSettings) -> bool:
    """Whether fields are halves of pictures that stand side by side."""
    return settings.source != "parquet" and any(place_of(name, settings) in HALVES for name in settings.fields)
