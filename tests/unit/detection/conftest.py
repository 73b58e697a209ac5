"""Packed images."""

from tests.support.metrics_fixtures import pack_images

__all__ = ["pack_images"]
