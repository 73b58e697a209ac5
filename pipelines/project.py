"""A project as Kubeflow runs it: params.yaml, and cluster.yaml beside it, which nothing else reads."""

from __future__ import annotations

from pathlib import Path

from atelier.config import settings
from atelier.config.cluster import ClusterSettings
from atelier.config.section import Section, SettingsError, parse
from atelier.config.settings import Settings

FILE = "cluster.yaml"
SECTIONS: dict[str, type[Section]] = {**settings.SECTIONS, "cluster": ClusterSettings}


class ProjectSettings(Settings):
    """What is computed, and where."""

    cluster: ClusterSettings


def load(params: Path | str = "params.yaml", overrides: list[str] | None = None, placed: bool = True) -> ProjectSettings:
    """Reads and validates both files; `overrides` are "section.key=value" strings, those of section `cluster` too.

    Unless tasks are `placed` on nodes, a project may do without cluster.yaml. Raises SettingsError.
    """
    file = Path(params).with_name(FILE)
    theirs = [one for one in overrides or [] if one.startswith("cluster.")]
    whole = settings.load(params, [one for one in overrides or [] if one not in theirs])
    if placed and not file.exists():
        raise SettingsError(f"{file}: missing, and a cluster needs to be told where tasks run; copy the one of the repository")
    values = {"cluster": (settings.read(file) or {}) if file.exists() else {}}
    for override in theirs:
        values = settings.overridden(values, override)
    cluster = parse(values["cluster"], ClusterSettings, origin=str(file), prefix="cluster")
    return ProjectSettings.model_validate({**dict(whole), "cluster": cluster})
