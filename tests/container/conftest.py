"""Fixtures of the tests in containers."""

from containers import engine, images
from team_services import services

__all__ = ["engine", "images", "services"]
