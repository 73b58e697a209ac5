"""What travels with a registered generator: the few modules that load it, and the packages that they need."""

from __future__ import annotations

import ast
import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import atelier
from atelier.io.files import sha256_file

ROOT = Path(atelier.__file__).parent
ENTRY = "atelier.models.pyfunc"
REQUIREMENTS = ("torch", "numpy", "pillow", "safetensors", "pydantic", "ruamel.yaml")


def requirements() -> list[str]:
    """Pinned requirements of the served model (MLflow adds itself, and pandas with it)."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def copy_code(folder: Path) -> Path:
    """Copies the modules of `closure()` as folder/atelier and returns that folder."""
    for file in closure():
        target = folder / "atelier" / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder / "atelier"


def closure(entry: str = ENTRY) -> list[Path]:
    """Source files of this package that `entry` imports, directly or not, itself and the packages around them included."""
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        file = _source(name)
        if name in found or file is None:
            continue
        found[name] = file
        waiting += [imported for imported in _imports(file) if imported.split(".")[0] == "atelier"]
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return sorted(found.values())


def code_hash() -> str:
    """sha256 over names and contents of what `copy_code` copies."""
    files = [f"{file.relative_to(ROOT).as_posix()} {sha256_file(file)}\n" for file in closure()]
    return hashlib.sha256("".join(files).encode()).hexdigest()


def _source(module: str) -> Path | None:
    base = ROOT.parent.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _imports(file: Path) -> list[str]:
    """Every module that a file may import; in `from a import b`, b may be a module too."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
