"""Whether a packed set is what params.yaml says of it.

`dvc repro` and Kubeflow pack anew when a setting changes; by hand any set can be given. A run on images of another size would go
on without a word, and what is registered would name parameters that are not true.
"""

from __future__ import annotations

import json
from pathlib import Path

from atelier.config.settings import Settings
from atelier.data.errors import DataError
from atelier.data.manifest import Manifest

ALIKE = ("resolution", "channels")  # in all sets
DECISIVE = (
    "resolution",
    "channels",
    "labels",
    "fields",
)  # what networks are built from, and the settings of networks are checked against


def packed_otherwise(manifest: Manifest, folder: Path, settings: Settings, name: str) -> str:
    """How the set in `folder` was packed otherwise than `settings` say of the set of that name.

    "" where nothing differs. Raises DataError where its size, channels or labels are others; all else is for people to know.
    """
    packed = {
        "resolution": manifest.resolution,
        "channels": manifest.channels,
        "source": manifest.source.get("kind"),
        "licence": manifest.source.get("licence"),
        "fields": {},
        "group_by": None,
        **manifest.processing,
    }
    told, section = {"group_by": None, **settings.data[name].plain()}, f"data.{name}"
    differing = {key: value for key, value in packed.items() if key in told and told[key] != value}
    said = "; ".join(
        f"{section}.{key} is {_yaml(told[key])}, but it was packed with {_yaml(value)}" for key, value in differing.items()
    )
    if wrong := [key for key in DECISIVE if key in differing]:
        places = {key: settings.data if key in ALIKE else (name,) for key in wrong}
        sets = " ".join(f"--set data.{place}.{key}={_yaml(differing[key])}" for key in wrong for place in places[key])
        raise DataError(
            f"{folder}: {said}; pack it again (`dvc repro`, or python -m components.prepare --section {section} --output "
            f"{folder}), or say what it is: {sets}"
        )
    return f"{folder}: {said}; the images are taken as they were packed" if said else ""


def _yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
