"""Packed images, networks to look at them, and settings."""

from tests.support.metrics_fixtures import *  # noqa: F403 - all that it makes
