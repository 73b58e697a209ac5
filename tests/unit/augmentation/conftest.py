"""Packed images and settings."""

from tests.support.metrics_fixtures import means, measured, pack_images
from tests.support.small import quiet

__all__ = ["means", "measured", "pack_images", "quiet"]
