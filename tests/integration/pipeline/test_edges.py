"""What reaches a task has the type that the task declares: the backend's driver refuses a run in which one differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import dag
from tests.support.compiled_yaml import ONE_PRODUCT, compiled_text, documents, project_folder
from tests.support.pinned_images import ADDRESSES, DATA, PINNED
from tests.support.small import ROOT

TRIALS = ({"train.seed": 0, "model.mlp.hidden": [8]}, {"train.seed": 1, "model.mlp.hidden": [16]})
VARIANTS = {
    "plain": dag.Cluster(),
    "reused": dag.Cluster(PINNED, DATA, reuse=True),
    "with a claim": dag.Cluster(PINNED, DATA, claim="states", tracking="http://mlflow.example"),
    "a sweep": dag.Cluster(PINNED, DATA, trials=TRIALS),
    "in parts": dag.Cluster(PINNED, DATA, partitions=3),
    "from DVC": dag.Cluster(PINNED, DATA, imports=ADDRESSES),
    "all": dag.Cluster(PINNED, DATA, trials=TRIALS, partitions=2, imports=ADDRESSES, reuse=True, claim="states"),
}
PROJECTS: dict[str, list[str]] = {
    "as it is": [],
    "on nodes": ["train.nodes=2", "finetune.nodes=2", "cluster.states=s3://bucket/states", "cluster.accelerators='4'"],
    "with another form": [
        "cluster.form=[cluster.tolerations, cluster.secret, model.dcgan.width, evaluate.metrics, train.compile]"
    ],
    "with no form": ["cluster.form=[]"],
}
KINDS: list[tuple[type, str]] = [
    (bool, "BOOLEAN"),
    (int, "NUMBER_INTEGER"),
    (float, "NUMBER_DOUBLE"),
    (str, "STRING"),
    (list, "LIST"),
    (dict, "STRUCT"),
]


def kind(value: Any) -> str:
    return next(name for kind, name in KINDS if isinstance(value, kind))


def default(pipeline: dict[str, Any], channel: str) -> Any:
    """The default of the pipeline's parameter that a group hands on."""
    return pipeline["root"]["inputDefinitions"]["parameters"][channel]["defaultValue"]


def edges(pipeline: dict[str, Any], group: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(task and input, type of what comes, type that is declared) of each parameter that reaches a task, loops included."""
    inputs = group.get("inputDefinitions", {}).get("parameters", {})
    tasks = group["dag"]["tasks"]
    components = {name: pipeline["components"][task["componentRef"]["name"]] for name, task in tasks.items()}
    for name, task in tasks.items():
        declared = components[name].get("inputDefinitions", {}).get("parameters", {})
        for argument, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                found = inputs[source["componentInputParameter"]]["parameterType"]
            elif "taskOutputParameter" in source:
                output = source["taskOutputParameter"]
                made = components[output["producerTask"]]["outputDefinitions"]["parameters"]
                found = made[output["outputParameterKey"]]["parameterType"]
            elif "runtimeValue" in source:
                constant = source["runtimeValue"]["constant"]  # in which every number is a double
                found = kind(int(constant) if isinstance(constant, float) and constant.is_integer() else constant)
            else:  # Kubeflow's own, as the state of a task
                continue
            if argument in declared:  # others are read by what places the task, not by the task
                yield f"{name}.{argument}", found, declared[argument]["parameterType"]
        if iterator := task.get("parameterIterator"):
            items = iterator["items"]
            values = json.loads(items["raw"]) if "raw" in items else default(pipeline, items["inputParameter"])
            for value in values:
                yield f"{name}, each item", kind(value), declared[iterator["itemInput"]]["parameterType"]
        if "dag" in components[name]:
            yield from edges(pipeline, components[name])


def mismatches(text: str, least: int) -> list[tuple[str, str, str]]:
    pipeline = documents(text)[0]
    found = list(edges(pipeline, pipeline["root"]))
    assert len(found) > least
    return [edge for edge in found if edge[1] != edge[2]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("project", PROJECTS)
def test_types_are_equal_along_every_edge(variant: str, project: str) -> None:
    assert mismatches(compiled_text(VARIANTS[variant], ROOT, PROJECTS[project]), least=15) == []


@pytest.mark.parametrize("finetuned", [False, True])
def test_types_are_equal_in_a_project_of_one_product(finetuned: bool, tmp_path: Path) -> None:
    assert mismatches(compiled_text(VARIANTS["in parts"], project_folder(tmp_path, ONE_PRODUCT, finetuned)), least=12) == []


def test_another_type_is_seen() -> None:
    text = compiled_text(VARIANTS["plain"])
    spoiled = text.replace(
        "settings_train:\n          parameterType: STRUCT", "settings_train:\n          parameterType: STRING", 1
    )
    assert spoiled != text and mismatches(spoiled, least=15)
