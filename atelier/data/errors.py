"""Errors of images."""

from __future__ import annotations

from atelier.errors import AtelierError

REMEDY = "run `dvc repro` (or `dvc pull`) to bring it back"  # of a packed dataset that is damaged


class DataError(AtelierError):
    """A source or a packed dataset cannot be used; the message names it and the remedy."""


class Rejected(Exception):
    """One image cannot be used; its text is the reason. Never depends on the machine, since manifests list it."""
