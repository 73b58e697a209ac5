"""The code of a registered generator: the few modules that load it, and the packages that they need."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from atelier.config.model import modules
from atelier.io.closure import PACKAGE, ROOT, closure, digest

ENTRY = "atelier.models.pyfunc"
REQUIREMENTS = ("torch", "numpy", "pillow", "safetensors", "pydantic", "ruamel.yaml", "c2pa-python", "cryptography")


def requirements() -> list[str]:
    """Pinned requirements of the served model (MLflow adds itself, and pandas with it)."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def files(architecture: str) -> list[Path]:
    """The source files that a generator of this architecture needs."""
    return closure(ENTRY, *modules(architecture))


def copy_code(architecture: str, folder: Path) -> Path:
    """Copies `files` as folder/atelier and returns that folder."""
    for file in files(architecture):
        target = folder / PACKAGE / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder / PACKAGE


def code_hash(architecture: str) -> str:
    """sha256 over names and contents of what `copy_code` copies."""
    return digest(files(architecture))
