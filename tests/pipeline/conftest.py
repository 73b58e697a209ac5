"""Fixtures of the small pipeline."""

from small import images, quiet, workspace

__all__ = ["images", "quiet", "workspace"]
