"""The scripts of recipes/."""

from __future__ import annotations

import runpy
from typing import Any

from tests.support.small import ROOT


def script(recipe: str) -> dict[str, Any]:
    """What get_images.py of a recipe defines."""
    return runpy.run_path(str(ROOT / "recipes" / recipe / "get_images.py"))
