"""The code of a registered generator: the few modules that load it, and the packages that they need."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

from atelier.config.model import modules
from atelier.io.closure import PACKAGE, ROOT, closure, digest
from atelier.networks.inputs import Takes

ENTRY = "atelier.models.pyfunc"
REQUIREMENTS = ("torch", "numpy", "scipy", "pillow", "safetensors", "pydantic", "ruamel.yaml", "c2pa-python", "cryptography")


def requirements(takes: Takes) -> list[str]:
    """Pinned requirements of a served model with these inputs (MLflow adds itself, and pandas with it)."""
    names = dict.fromkeys([*REQUIREMENTS, *(package for kind in takes.values() for package in kind.packages)])
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def files(architecture: str, takes: Takes) -> list[Path]:
    """The source files that a generator of this architecture with these inputs needs."""
    return closure(ENTRY, *modules(architecture), *(kind.reader for kind in takes.values() if kind.reader))


def copy_code(architecture: str, takes: Takes, folder: Path) -> Path:
    """Copies `files` as folder/atelier and returns that folder."""
    for file in files(architecture, takes):
        target = folder / PACKAGE / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder / PACKAGE


def code_hash(architecture: str, takes: Takes) -> str:
    """sha256 over names and contents of what `copy_code` copies."""
    return digest(files(architecture, takes))
