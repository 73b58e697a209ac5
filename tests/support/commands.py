"""Command lines in this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from atelier import command_line


def exit_code(main: Callable[[], None], name: str, *arguments: str) -> int:
    """Runs the `main` of a program that is called `name` as its command line does and returns its exit code."""
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        command_line.run(main)
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before


def run(name: str, *arguments: str) -> int:
    """Runs `python -m components.NAME` in this process and returns its exit code."""
    return exit_code(importlib.import_module(f"components.{name}").main, name, *arguments)
