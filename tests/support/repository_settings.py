"""params.yaml of the repository, with some values changed."""

from __future__ import annotations

from atelier.config.settings import Settings, load
from tests.support.small import ROOT


def settings(*overrides: str) -> Settings:
    return load(ROOT / "params.yaml", list(overrides))
