"""Writes into dvc.yaml what code each stage depends on: the import closure of its command for the chosen task and family.

  python -m pipelines.dependencies                  after a change of imports
  python -m pipelines.dependencies recipes/fashion  of another project than that of this folder
  python -m pipelines.dependencies --check          exits with 1 if dvc.yaml has other lists

What is found by its name counts too: the architecture, the task that is trained, the metrics. What no result depends on is left
out (settings' classes: a stage's params name the values that count; how a component is called); of what keeps records only the
stages that register depend. A folder of one concern is listed as a whole, that of metrics as well. Those to which others add
files (architectures, tasks) are listed file by file, so that adding one makes nobody's stage run again.
"""

from __future__ import annotations

import argparse
import io
import os
import pkgutil
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atelier import command_line
from atelier.config.metrics import PACKAGE as METRICS
from atelier.config.model import ModelSettings, modules
from atelier.config.settings import Settings, changed, load
from atelier.errors import AtelierError
from atelier.io.closure import APART, ROOT, acts, closure
from atelier.io.files import atomic_write
from atelier.tasks.find import module

COMMAND = re.compile(r"python -m (components\.\w+)")
CALLED = ("components.cli", "components.contract")
RECORDS = ("atelier.tracking", "atelier.registry")
REGISTERING = ("components.register", "components.register_detector")
WHOLE = {f"atelier/{name}" for name in ("data", "extractors", "losses", "metrics", "report", "training")}
WHOLE |= {name.replace(".", "/") for name in RECORDS}


def code(command: str, model: ModelSettings, others: Sequence[str] = ()) -> list[str]:
    """Paths of the code that a stage's command depends on, in order; the architecture's own with its name as DVC's template.

    `others` are the architectures of the generators of section detect, for components that read it.
    """
    (component,) = set(COMMAND.findall(command))
    without = (*APART, *CALLED, *(RECORDS if component not in REGISTERING else ()))
    files = closure(component, without=without)
    reads = pkgutil.resolve_name(f"{component}:{component.rpartition('.')[2]}").reads.values()
    families = [model.architecture, *(others if any(text.startswith("detect") for text in reads) else ())]
    files = closure(component, *_found_by_name(files, model, families), without=without)
    template = zip(modules(model.architecture), modules("${model.architecture}"), strict=True)
    own = {_path(name): _path(templated) for name, templated in template}
    own[f"atelier/tasks/{model.task}"] = "atelier/tasks/${model.task}"
    return sorted({own.get(path, path) for path in map(_listed, filter(acts, files))})


def _families(settings: Settings) -> list[str]:
    """The architectures of the generators of section detect."""
    generators = settings.detect.generators if settings.detect else {}
    own = {"model": settings.model.plain()}
    return [changed(own, changes, name)["model"]["architecture"] for name, changes in generators.items()]


def _found_by_name(files: list[Path], model: ModelSettings, families: Sequence[str]) -> list[str]:
    """Modules that one of these files loads by a name that stands in no import."""
    kinds = [f"{METRICS}.{file.stem}" for file in sorted((ROOT / "metrics" / "kinds").glob("[!_]*.py"))]
    networks = [name for family in families for name in modules(family)]
    loaders = {"networks/zoo.py": networks, "tasks/find.py": [module(model.task)], "metrics/metric.py": kinds}
    return [name for loader, names in loaders.items() if ROOT / loader in files for name in names]


def _path(name: str) -> str:
    return f"{name.replace('.', '/', 2)}.py"


def _listed(file: Path) -> str:
    """The file, or the folder that is listed for it: a task is a folder."""
    path = file.relative_to(ROOT.parent)
    depth = 3 if path.parts[:2] == ("atelier", "tasks") else 2
    folder = "/".join(path.parts[:depth])
    return folder if folder in WHOLE or (depth == 3 and len(path.parts) > depth) else path.as_posix()


def with_code(graph: Any, settings: Settings, project: Path = ROOT.parent) -> Any:
    """The content of a project's dvc.yaml with these lists; what is no code stays where it is."""
    others = _families(settings)
    above = os.path.relpath(ROOT.parent, project.resolve())
    prefix = "" if above == "." else f"{above}/"
    for stage in graph["stages"].values():
        stage = stage.get("do", stage)  # of a `foreach`
        inputs = [path for path in stage["deps"] if not path.startswith((f"{prefix}atelier/", f"{prefix}components/"))]
        found = [f"{prefix}{path}" for path in code(stage["cmd"], settings.model, others)]
        stage["deps"][:] = [*inputs, *found]  # in place, which keeps comments
    return graph


def main() -> None:
    """Writes the lists, or says that they differ."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.dependencies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", nargs="?", type=Path, default=Path(), help="folder with dvc.yaml and params.yaml (default: .)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the lists differ")
    args = parser.parse_args()
    file = args.project / "dvc.yaml"
    yaml, written = YAML(), io.StringIO()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    before = file.read_text(encoding="utf-8")
    yaml.dump(with_code(yaml.load(before), load(args.project / "params.yaml"), args.project), written)
    if written.getvalue() == before:
        return
    if args.check:
        raise AtelierError(f"{file}: its stages depend on other code than they list; run python -m pipelines.dependencies")
    atomic_write(file, written.getvalue())


if __name__ == "__main__":
    command_line.run(main)
