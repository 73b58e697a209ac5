"""The nodes that Argo keeps in a Workflow until it is deleted, in the length that they have when it has succeeded.

Read in Argo 4.0.5, workflow/controller/operator.go: a node holds the inputs of its template with their values
(initializeExecutableNode), and what came out. By the settings of Kubeflow Pipelines 2.17.0 every template may be tried again
(workflowDefaults in workflow-controller-configmap), so it has a node for all attempts and one for the first (executeTemplate).
A task is a driver, which puts out the patch of a pod, and two templates that are given it, one in the other. Names and kinds of
the nodes are those of the recorded runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.argo.patch import artifact, patch
from pipelines.argo.spec import Json, Pipeline, at_the_end, executor, retries, text

WORKFLOW = "atelier-x7k2f"
BASIS, PRIME = 0x811C9DC5, 0x01000193  # of FNV-1a, by which Argo makes ids of names
RAN = {
    "phase": "Succeeded", "startedAt": "2026-11-29T03:10:26Z", "finishedAt": "2026-11-29T03:12:37Z", "progress": "1/1",
    "resourcesDuration": {"cpu": 12, "memory": 345}, "templateScope": f"local/{WORKFLOW}", "nodeFlag": {"retried": True},
}  # fmt: skip
LOG = f"private-artifacts/kubeflow/{WORKFLOW}/2026/11/29/{WORKFLOW}-retry-system-container-impl-1234567890/main.log"
POD = {"hostNodeName": "kind-control-plane", "taskResultSynced": True}
# The parameters of the drivers' templates that have defaults, and what they put out (dag.go and container.go of argocompiler).
DAG_DRIVER, CONTAINER_DRIVER = "system-dag-driver", "system-container-driver"
INPUTS = {
    DAG_DRIVER: {
        "runtime-config": "", "task": "", "task-name": "", "parent-dag-id": "0", "iteration-index": "-1", "driver-type": "DAG",
    },
    CONTAINER_DRIVER: {"iteration-index": "-1", "kubernetes-config": ""},
}  # fmt: skip
OUTPUTS = {
    DAG_DRIVER: {"execution-id": "123", "iteration-count": "0", "condition": "true"},
    CONTAINER_DRIVER: {"cached-decision": "false", "condition": "true"},
}


@dataclass(frozen=True)
class Group:
    """A group of tasks in a run: its component, the values of its parameters, its artifacts, and the path of its node."""

    component: Json
    parameters: Mapping[str, Any]
    artifacts: Mapping[str, list[Json]]
    path: str


class Run:
    """A run of a pipeline that succeeds. `values` are outputs of tasks by their names; what is not there is an open gate."""

    def __init__(self, pipeline: Pipeline, parameters: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.pipeline, self.values = pipeline, values
        self.parameters = {**pipeline.defaults, **parameters}
        self.argument = 0  # bytes of the longest argument of a container
        references = {f"{{{{workflow.parameters.{name}}}}}": value for name, value in pipeline.arguments().items()}
        self._references = {**references, "{{inputs.parameters.parent-dag-id}}": "123"}

    def nodes(self) -> dict[str, Json]:
        """The nodes by their ids."""
        root = self.pipeline.components["root"]
        group = Group(root, self.parameters, {}, f"{WORKFLOW}(0).root")
        given = {"component": text(root), "runtime-config": text({"parameterValues": self.parameters}), "driver-type": "ROOT_DAG"}
        nodes = [
            *_attempted(WORKFLOW, "entrypoint", "DAG", {}),
            *self._driver(f"{group.path}-driver", DAG_DRIVER, given),
            *self._group(group, "root"),
        ]
        return {node["id"]: node for node in nodes}

    def _group(self, group: Group, template: str) -> Iterator[Json]:
        yield from _attempted(group.path, template, "DAG", {"parent-dag-id": "123"})
        for name, task in group.component["dag"]["tasks"].items():
            path = f"{group.path}(0).{name}"
            if at_the_end(task):
                hook = f"{group.path}(0).{task['dependentTasks'][0]}.onExit"
                yield from _attempted(hook, f"exit-hook-{template}-{name}", "DAG", {"parent-dag-id": "123"})
                path = f"{hook}(0).{name}"
            if "parameterIterator" in task:
                yield from self._loop(group, name, task, path)
            else:
                yield from self._task(group, name, task, path)

    def _loop(self, group: Group, name: str, task: Json, path: str) -> Iterator[Json]:
        component, rounds = task["componentRef"]["name"], f"{path}(0).iteration-iterations"
        yield from _attempted(path, f"{component}-{name}-iterator", "DAG", {"parent-dag-id": "123"})
        yield from self._driver(f"{path}(0).iteration-driver", DAG_DRIVER, self.pipeline.given(task, name))
        yield _node(rounds, f"{component}-iteration", "TaskGroup", {})
        for place, item in enumerate(self._items(group, task)):
            each = f"{rounds}({place}:{place})"
            inputs = {"parent-dag-id": "123", "iteration-index": str(place)}
            yield from _attempted(each, f"{component}-iteration", "DAG", inputs)
            inside = {task["parameterIterator"]["itemInput"]: item}
            yield from self._task(group, name, task, f"{each}(0).iteration-item", inside)

    def _task(self, group: Group, name: str, task: Json, path: str, inside: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """A task's nodes. In a round of a loop, `inside` is what it gives to its task."""
        component = self.pipeline.components[task["componentRef"]["name"]]
        inputs = task.get("inputs", {})
        parameters = {key: self._value(group, source) for key, source in inputs.get("parameters", {}).items()} | dict(
            inside or {}
        )
        artifacts = {key: self._artifacts(group, source) for key, source in inputs.get("artifacts", {}).items()}
        given = self.pipeline.given(task, name, iteration=inside is not None)
        if "dag" in component:
            yield from self._driver(f"{path}-driver", DAG_DRIVER, given)
            yield from self._group(Group(component, parameters, artifacts, path), task["componentRef"]["name"])
            return
        told = patch(self.pipeline, name, component, parameters, artifacts)
        self._note(*told["containers"][0]["command"])
        yield from self._driver(f"{path}-driver", CONTAINER_DRIVER, given, text(told))
        again = {"pod-spec-patch": text(told), **retries(task)}
        yield from _attempted(path, executor(task), "DAG", {**again, "cached-decision": "false"})
        yield from _attempted(f"{path}(0).executor", executor(task).replace("executor", "impl"), "Pod", again)

    def _driver(self, path: str, template: str, given: Mapping[str, str], made: str | None = None) -> Iterator[Json]:
        values = {**INPUTS[template], **{key: self._references.get(value, value) for key, value in given.items()}}
        self._note(text([*values.values()]))
        outputs = {**OUTPUTS[template], **({} if made is None else {"pod-spec-patch": made})}
        yield from _attempted(path, template, "Pod", values, INPUTS[template], outputs)

    def _note(self, *arguments: str) -> None:
        self.argument = max(self.argument, *(len(one.encode()) for one in arguments))

    def _items(self, group: Group, task: Json) -> list[Any]:
        items = task["parameterIterator"]["items"]
        if "raw" in items:
            return list(json.loads(items["raw"]))
        return list(self._value(group, task["inputs"]["parameters"][items["inputParameter"]]))

    def _value(self, group: Group, source: Json) -> Any:
        if "componentInputParameter" in source:
            return group.parameters[source["componentInputParameter"]]
        if "taskOutputParameter" in source:
            return self.values.get(source["taskOutputParameter"]["outputParameterKey"], True)
        if "taskFinalStatus" in source:
            return {"state": "COMPLETE", "pipelineTaskName": "exit-handler-1", "pipelineJobResourceName": WORKFLOW, "error": {}}
        return source["runtimeValue"]["constant"]

    def _artifacts(self, group: Group, source: Json) -> list[Json]:
        if "componentInputArtifact" in source:
            return group.artifacts[source["componentInputArtifact"]]
        made = source["taskOutputArtifact"]
        return self._made(group, made["producerTask"], made["outputArtifactKey"])

    def _made(self, group: Group, name: str, output: str) -> list[Json]:
        """The artifacts of an output: one, or one for each round of a loop."""
        task = group.component["dag"]["tasks"][name]
        component = self.pipeline.components[task["componentRef"]["name"]]
        rounds = range(len(self._items(group, task)) if "parameterIterator" in task else 1)
        if "dag" not in component:
            kind = component["outputDefinitions"]["artifacts"][output]["artifactType"]
            return [artifact(name, output, kind, one) for one in rounds]
        (selector,) = component["dag"]["outputs"]["artifacts"][output]["artifactSelectors"]
        inner = self.pipeline.components[component["dag"]["tasks"][selector["producerSubtask"]]["componentRef"]["name"]]
        kind = inner["outputDefinitions"]["artifacts"][selector["outputArtifactKey"]]["artifactType"]
        return [artifact(selector["producerSubtask"], output, kind, one) for one in rounds]


def _attempted(
    path: str, template: str, kind: str, inputs: Mapping[str, str],
    defaults: Mapping[str, str] | None = None, outputs: Mapping[str, str] | None = None,
) -> Iterator[Json]:  # fmt: skip
    """The node of all attempts of a template, and that of the first one."""
    for name, of in ((path, "Retry"), (f"{path}(0)", kind)):
        node = _node(name, template, of, inputs, defaults or {})
        if kind == "Pod":
            made = [
                {"name": key, "value": value, "valueFrom": {"path": f"/tmp/outputs/{key}", "default": "false"}}
                for key, value in (outputs or {}).items()
            ]
            node["outputs"] = {"parameters": made, "artifacts": [{"name": "main-logs", "s3": {"key": LOG}}], "exitCode": "0"}
            node |= POD if of == "Pod" else {}
        yield node


def _node(path: str, template: str, kind: str, inputs: Mapping[str, str], defaults: Mapping[str, str] | None = None) -> Json:
    group, _, name = path.rpartition(".")
    node: Json = {"id": _id(path), "name": path, "displayName": name, "type": kind, "templateName": template, **RAN}
    node |= {"boundaryID": _id(group), "children": [_id(f"{path}.")]}
    if kind == "DAG":
        node["outboundNodes"] = [_id(f".{path}")]
    if inputs:
        default = {key: {"default": value} for key, value in (defaults or {}).items()}
        node["inputs"] = {"parameters": [{"name": key, "value": value, **default.get(key, {})} for key, value in inputs.items()]}
    return node


def _id(path: str) -> str:
    value = BASIS
    for byte in path.encode():
        value = (value ^ byte) * PRIME & 0xFFFFFFFF
    return WORKFLOW if path == WORKFLOW else f"{WORKFLOW}-{value}"
