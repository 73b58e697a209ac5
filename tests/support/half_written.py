"""What an interrupted writer leaves."""

from __future__ import annotations

from pathlib import Path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
