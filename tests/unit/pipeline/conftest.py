"""Fixtures of the small pipeline."""

from tests.support.small import images, quiet, workspace

__all__ = ["images", "quiet", "workspace"]
