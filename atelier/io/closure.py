"""The import closure of modules of this package: what a result depends on, and what travels with a model.

It is read from the sources, and nothing is imported: a file counts if an import statement names it, at a module's top or inside
a function. What is found by its name at run time (an architecture) has to be named by the caller.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT.name
# No result depends on these: settings count by their values, and the others report, or fit the work to the machine.
APART = tuple(f"{PACKAGE}.{name}" for name in ("command_line", "config", "errors", "io.closure", "io.progress", "machine"))


def closure(*modules: str, without: Collection[str] = ()) -> list[Path]:
    """Source files that these modules import, directly or not, themselves and the packages around them included.

    What is followed is of this package, or of the top-level package of one of `modules`. Modules and packages in `without` are
    left out, with what they alone import. Raises ModuleNotFoundError for one of `modules` that is not there.
    """
    found: dict[str, Path] = {}
    waiting, tops = list(modules), {PACKAGE, *(name.partition(".")[0] for name in modules)}
    while waiting:
        name = waiting.pop()
        file = _source(name)
        if file is None and name in modules:
            raise ModuleNotFoundError(f"{ROOT.parent} has no module {name}")
        if name in found or file is None or any(name == left or name.startswith(f"{left}.") for left in without):
            continue
        found[name] = file
        waiting += [imported for imported in imports(file) if imported.partition(".")[0] in tops]
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return sorted(found.values())


def digest(files: Iterable[Path]) -> str:
    """sha256 over names below the package and contents."""
    whole = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        whole.update(f"{file.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()


def acts(file: Path) -> bool:
    """Whether a file holds more than a docstring, as the __init__.py of a package seldom does."""
    return any(not isinstance(node, ast.Expr) for node in _parsed(file).body)


@cache
def imports(file: Path) -> tuple[str, ...]:
    """Every module that a file may import; in `from a import b`, b may be a module too. Read once in the life of a process."""
    names: list[str] = []
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _source(module: str) -> Path | None:
    base = ROOT.parent.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)
