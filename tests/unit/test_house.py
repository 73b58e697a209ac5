"""The house of docs/architecture.md: imports go down only, and no step knows its runner."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.small import ROOT
from tests.unit import conftest

LEVELS = [
    {"config", "io", "machine", "errors", "command_line"},
    {"data", "networks", "extractors", "provenance"},
    {"losses", "models"},
    {"tasks"},
    {"training", "metrics"},
    {"detection"},
    {"tracking", "report"},
    {"registry", "latent", "augmentation"},
    {"serving", "project", "style"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
SOURCES = sorted(path for top in ("atelier", "atelier_mlflow", "components", "pipelines") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(module: str) -> str | None:
    """The part of atelier that a module belongs to."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "atelier" and len(pieces) > 1 and pieces[1] in LEVEL else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down_only(path: Path) -> None:
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    names = imports(path)
    tops = {name.split(".")[0] for name in names}
    if top != "pipelines":
        assert not tops & {"kfp", "dvc", "pipelines"}
    if top == "atelier":
        assert "components" not in tops
        if rest != ["__init__"]:
            own = rest[0]
            assert own in LEVEL, f"atelier/{own} has no place in LEVELS"
            above = {name for name in names if (other := part(name)) and other != own and LEVEL[other] > LEVEL[own]}
            assert not above, f"imports from above: {sorted(above)}"


def test_no_import_leads_in_a_circle() -> None:
    """Not inside a folder either, nor for types alone."""
    sources = [*SOURCES, *(ROOT / "benchmarks").rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in sources}
    waiting = {
        name: {module for found in imports(path) for module in (found, found.rpartition(".")[0]) if module in names} - {name}
        for name, path in names.items()
    }
    for package in (name for name, path in names.items() if path.name == "__init__.py"):
        waiting[package] = {module for module in waiting[package] if not module.startswith(f"{package}.")}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert not waiting, f"in circles, or above one: {sorted(waiting)}"


def test_no_file_of_a_script_hides_a_module_of_python() -> None:
    """The folder of a script that is started by its path comes first in sys.path."""
    started = {path.parent for path in (ROOT / "tests").rglob("*.py") if '__name__ == "__main__"' in path.read_text()}
    hiding = sorted(str(path) for folder in started for path in folder.iterdir() if path.stem in sys.stdlib_module_names)
    assert started and not hiding


def test_files_stay_readable() -> None:
    long = {path.relative_to(ROOT).as_posix(): n for path in SOURCES if (n := path.read_text().count("\n")) > 400}
    assert not long


@pytest.mark.parametrize(
    ("name", "spent", "pace", "passes"),
    [
        ("test_a", 4.9, 0.5, True),
        ("test_a", 5.1, 0.5, False),
        ("test_a", 9.9, 2.0, True),  # on a processor of half the speed
        ("test_a", 10.1, 2.0, False),
        ("test_a[cuda]", 60, 1.0, True),
    ],
)
def test_a_unit_test_that_takes_long_fails(
    name: str, spent: float, pace: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([(1.0, 0.0, 0.0, 0.0, 100.0), (1.0 + spent, 0.0, 0.0, 0.0, 200.0)])
    item: Any = SimpleNamespace(name=name, nodeid=f"tests/unit/test_b.py::{name}")
    with monkeypatch.context() as patch:  # this test is timed itself
        patch.setattr(conftest, "os", SimpleNamespace(times=lambda: next(times)))
        patch.setattr(conftest, "_pace", lambda: pace)
        around = conftest.pytest_runtest_call(item)
        next(around)
        with pytest.raises(StopIteration if passes else pytest.fail.Exception) as ended:
            around.send(None)
    assert passes or f"tests/unit/test_b.py::test_a computes for {spent} s" in str(ended.value)
    assert passes or "move it to tests/integration" in str(ended.value)
