"""Fixtures of the small pipeline."""

from small import images, quiet

__all__ = ["images", "quiet"]
