"""What reaches a task has the type that the task declares: the backend's driver refuses a run in which one differs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines import dag, runners
from tests.support.compiled_yaml import documents

PINNED, DATA = "registry.example/atelier@sha256:" + "a" * 64, "registry.example/data@sha256:" + "b" * 64
ADDRESSES = {section: f"s3://bucket/dvc/files/md5/{section}.dir" for section in ("data", "target")}
TRIALS = ({"train.seed": 0, "model.mlp.hidden": [8]}, {"train.seed": 1, "model.mlp.hidden": [16]})
VARIANTS = {
    "plain": dag.Cluster(),
    "reused": dag.Cluster(PINNED, DATA, reuse=True),
    "a sweep": dag.Cluster(PINNED, DATA, trials=TRIALS),
    "in parts": dag.Cluster(PINNED, DATA, partitions=3),
    "from DVC": dag.Cluster(PINNED, DATA, imports=ADDRESSES),
    "all": dag.Cluster(PINNED, DATA, trials=TRIALS, partitions=2, imports=ADDRESSES, reuse=True),
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
    return pipeline["root"]["inputDefinitions"]["parameters"][channel.removeprefix("pipelinechannel--")]["defaultValue"]


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_types_are_equal_along_every_edge(variant: str) -> None:
    pipeline = documents(runners.compiled(VARIANTS[variant]))[0]
    found = list(edges(pipeline, pipeline["root"]))
    assert len(found) > 200
    assert [edge for edge in found if edge[1] != edge[2]] == []
