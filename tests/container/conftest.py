"""Fixtures of the tests in containers."""

from containers import engine, images, services

__all__ = ["engine", "images", "services"]
