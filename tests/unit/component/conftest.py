"""Fixtures of the small pipeline, and two folders of images to measure."""

from tests.support.measured_folders import cache, generated, passes, reference
from tests.support.small import images, quiet, workspace

__all__ = ["cache", "generated", "images", "passes", "quiet", "reference", "workspace"]
