"""What tests of versioned share, the quick ones and the slow ones."""

from __future__ import annotations

from atelier.config.settings import Settings, load
from tests.support.small import ROOT


def settings(*overrides: str) -> Settings:
    return load(ROOT / "params.yaml", list(overrides))
