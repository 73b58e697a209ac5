"""A compiled pipeline of Kubeflow, read: its tasks out of their groups, with what reaches them traced to where it comes from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import runners
from pipelines.cluster import Cluster
from pipelines.project import load
from tests.support.small import ROOT

Source = tuple[str, str]
"""("parameter", its name), ("constant", its value), ("item", of which loop), or (the task that makes it, its output)."""


@dataclass(frozen=True)
class Read:
    """A task: its entry in the YAML, its container, what Kubernetes is told, its inputs by name, and the groups around it.

    `scope` are the inputs of the group that holds it: what is told to Kubernetes is looked up there by Kubeflow's driver.
    """

    entry: dict[str, Any]
    component: dict[str, Any]
    container: dict[str, Any]
    platform: dict[str, Any]
    parameters: dict[str, Source]
    artifacts: dict[str, Source]
    scope: dict[str, Source] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)
    loops: list[Any] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def cached(self) -> bool:
        return bool(self.entry["cachingOptions"].get("enableCache"))


def outline(tasks: dict[str, Read]) -> str:
    """The graph as text, for people to read in a review: what each task runs, is given, makes and waits for."""
    lines: list[str] = []
    for name, task in sorted(tasks.items()):
        retries = task.entry.get("retryPolicy", {}).get("maxRetryCount", 0)
        module, first, *_, last = task.container["command"][4:]
        words = [first, last.removeprefix("--section=")] if module == "pipelines.task" else [module]
        image = "data image" if "data" in task.container["image"] else "train image"
        cached = "may be reused" if task.cached else "runs anew"
        lines.append(f"{name}: {' '.join(filter(None, words))}; {image}, {retries} retries, {cached}")
        declared = task.component.get("inputDefinitions", {}).get("parameters", {})
        asked = [one for one in declared if task.parameters.get(one) == ("parameter", one)]
        values = [one for one in declared if one not in asked]
        lines += [f"  asks for {', '.join(asked)}"] if asked else []
        lines += [f"  {one} = {'.'.join(map(str, task.parameters.get(one, ('told',))))}" for one in values]
        lines += [f"  {argument} <- {'.'.join(source)}" for argument, source in task.artifacts.items()]
        outputs = task.component.get("outputDefinitions", {})
        lines += [f"  makes {', '.join(sorted(outputs['artifacts']))}"] if "artifacts" in outputs else []
        lines += [f"  gives {', '.join(sorted(outputs['parameters']))}"] if "parameters" in outputs else []
        for handed in (word.removeprefix("--handed=") for word in task.container["command"] if word.startswith("--handed=")):
            lines += [f"  {one}: {', '.join(readings.values())}" for one, readings in documents(handed)[0].items()]
        lines += [f"  if {' and '.join(task.conditions)}"] if task.conditions else []
        lines += [f"  for each of {loop}" for loop in task.loops]
        known = {source for source, _ in (*task.artifacts.values(), *task.parameters.values())}
        after = [one for one in task.entry.get("dependentTasks", []) if one.replace("-", "_") not in known]
        lines += [f"  after {', '.join(sorted(after))}"] if after else []
    return "".join(f"{line}\n" for line in lines)


ONE_PRODUCT = """\
stages:
  pack:
    cmd: python -m components.prepare --section data.base --output packed
  learn:
    cmd: python -m components.train --data packed --output model
  measure:
    cmd: python -m components.evaluate --checkpoint model --data packed --output about
  keep:
    cmd: python -m components.register --product base --checkpoint model --evaluation about --data packed --output kept
"""


def project_folder(folder: Path, stages: str = ONE_PRODUCT, finetuned: bool = True) -> Path:
    """A project with the settings of the repository's and other stages; unless it is `finetuned`, of one set and one product."""
    yaml = YAML()
    params, placed = (yaml.load((ROOT / name).read_text(encoding="utf-8")) for name in ("params.yaml", "cluster.yaml"))
    if not finetuned:
        del params["finetune"], params["data"]["target"], params["products"]["finetuned"]
        placed["form"] = [key for key in placed["form"] if not re.search("finetune|target", key)]
    yaml.dump(params, folder / "params.yaml")
    yaml.dump(placed, folder / "cluster.yaml")
    (folder / "dvc.yaml").write_text(stages, encoding="utf-8")
    return folder


def documents(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


def compiled_text(cluster: Cluster, folder: Path = ROOT, overrides: Sequence[str] = ()) -> str:
    """The pipeline of the project in a folder, for a cluster."""
    with contextlib.chdir(folder):
        return runners.compiled(cluster, load(overrides=[*overrides]))


def compiled(cluster: Cluster, folder: Path = ROOT, overrides: Sequence[str] = ()) -> dict[str, Read]:
    """The tasks of the pipeline of the project in a folder, for a cluster."""
    return read(compiled_text(cluster, folder, overrides))


def read(text: str) -> dict[str, Read]:
    """The tasks of a pipeline by the names of their steps."""
    pipeline, *others = documents(text)
    placed = others[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if others else {}
    root = {name: ("parameter", name) for name in pipeline["root"]["inputDefinitions"]["parameters"]}
    found: dict[str, Read] = {}
    _walk(pipeline, placed, pipeline["root"], root, {}, Read({}, {}, {}, {}, {}, {}), found)
    return found


def _walk(
    pipeline: dict[str, Any], placed: dict[str, Any], group: dict[str, Any], parameters: dict[str, Source],
    artifacts: dict[str, Source], around: Read, found: dict[str, Read],
) -> None:  # fmt: skip
    def made(name: str, key: str, kind: str) -> Source:
        """Where an output of a task of this group comes from, through the groups that hand it out."""
        component = pipeline["components"][group["dag"]["tasks"][name]["componentRef"]["name"]]
        while "dag" in component:
            (selector,) = component["dag"]["outputs"][kind][key][f"{kind[:-1]}Selectors" if kind == "artifacts" else "selectors"]
            name, key = selector["producerSubtask"], selector["outputArtifactKey"]
            component = pipeline["components"][component["dag"]["tasks"][name]["componentRef"]["name"]]
        return name.replace("-", "_"), key

    for name, task in group["dag"]["tasks"].items():
        given, arrived = {}, {}
        for argument, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                given[argument] = parameters[source["componentInputParameter"]]
            elif "taskOutputParameter" in source:
                output = source["taskOutputParameter"]
                given[argument] = made(output["producerTask"], output["outputParameterKey"], "parameters")
            elif "runtimeValue" in source:
                given[argument] = ("constant", source["runtimeValue"]["constant"])
        for argument, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                arrived[argument] = artifacts[source["componentInputArtifact"]]
            else:
                output = source["taskOutputArtifact"]
                arrived[argument] = made(output["producerTask"], output["outputArtifactKey"], "artifacts")
        condition = task.get("triggerPolicy", {}).get("condition")
        conditions = [*around.conditions, _named(condition, given)] if condition else around.conditions
        loops = around.loops
        if iterator := task.get("parameterIterator"):
            item, items = iterator["itemInput"], iterator["items"]
            loops = [*loops, items.get("raw") or given[items["inputParameter"]]]
            given[item] = ("item", name)
        component = pipeline["components"][task["componentRef"]["name"]]
        inside = Read({}, {}, {}, {}, {}, {}, {}, conditions, loops, [*around.groups, task["taskInfo"]["name"]])
        if "dag" in component:
            _walk(pipeline, placed, component, given, arrived, inside, found)
        else:
            label = component["executorLabel"]
            executor = pipeline["deploymentSpec"]["executors"][label]
            found[name.replace("-", "_")] = Read(
                task, component, executor["container"], placed.get(label, {}), given, arrived,
                parameters, conditions, loops, around.groups,
            )  # fmt: skip


def _named(condition: str, given: dict[str, Source]) -> str:
    for name, source in given.items():
        condition = condition.replace(f"inputs.parameter_values['{name}']", ".".join(source))
    return condition


def _renew() -> None:
    """Writes the graphs that test_reviewed_graphs.py and test_recipes.py hold the pipelines to."""
    from tests.integration.pipeline.test_reviewed_graphs import GRAPHS, VARIANTS

    for name, cluster in VARIANTS.items():
        (GRAPHS / f"{name}.txt").write_text(outline(compiled(cluster)), encoding="utf-8")
    for recipe in sorted(file.parent for file in (ROOT / "recipes").glob("*/params.yaml")):
        with contextlib.chdir(recipe):
            text = runners.compiled(Cluster(), load())
        (GRAPHS / f"{recipe.name}.txt").write_text(outline(read(text)), encoding="utf-8")


if __name__ == "__main__":
    _renew()
