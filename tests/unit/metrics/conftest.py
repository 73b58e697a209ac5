"""Packed images, networks to look at them, and settings."""

from tests.support.metrics_fixtures import (
    digits,
    held_out,
    means,
    measured,
    one_thread,
    pack_images,
    partial_inception,
    peer,
    photographs,
    varied_inception,
)

__all__ = [
    "digits",
    "held_out",
    "means",
    "measured",
    "one_thread",
    "pack_images",
    "partial_inception",
    "peer",
    "photographs",
    "varied_inception",
]
