"""The commands of components/ in this process."""

from __future__ import annotations

import importlib
import sys

from components import cli


def run(name: str, *arguments: str) -> int:
    """Runs `python -m components.NAME` in this process and returns its exit code."""
    module = importlib.import_module(f"components.{name}")
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        cli.run(module.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
