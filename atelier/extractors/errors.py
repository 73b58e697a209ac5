"""The error of extractors."""

from __future__ import annotations

from atelier.errors import AtelierError


class ExtractorError(AtelierError):
    """Weights are missing, are not those that are known, or belong to another extractor; or inputs or a network do not fit."""
