"""Fixtures of the small pipeline."""

from tests.support.small import images, quiet

__all__ = ["images", "quiet"]
