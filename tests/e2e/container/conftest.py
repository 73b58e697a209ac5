"""Fixtures of the tests in containers."""

from tests.support.containers import engine, images
from tests.support.team_services import services

__all__ = ["engine", "images", "services"]
