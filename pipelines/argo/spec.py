"""What Kubeflow's API server makes of a compiled pipeline: the specification of a Workflow of Argo, as far as its size goes.

Read in Kubeflow Pipelines 2.17.0, backend/src/v2/compiler/argocompiler: each component, container and Kubernetes configuration is
an argument of the Workflow, as JSON (saveProtoToArguments in argo.go). Each group of tasks is a template, in which a task stands
as its driver and what it prepares (DAG and task in dag.go), a loop as two templates more (iteratorTask). What all pipelines have
in common, such as the templates of the drivers, is counted and not written out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

AT_THE_END = "ALL_UPSTREAM_TASKS_COMPLETED"
ANNOTATIONS = {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}, "outputs": {}}
RETRY = {
    "retry-max-count": "maxRetryCount", "retry-backoff-duration": "backoffDuration",
    "retry-backoff-factor": "backoffFactor", "retry-backoff-max-duration": "backoffMaxDuration",
}  # fmt: skip
# Bytes of JSON: the templates of both drivers and the entrypoint, and what is around templates and arguments.
SHARED = 2150 + 2350 + 600 + 900
EXECUTORS = {"system-container-executor": 2400, "retry-system-container-executor": 3400}  # with the container of each


def text(value: Any) -> str:
    """JSON as Go writes it: keys sorted, no spaces, <, > and & escaped."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Pipeline:
    """A compiled pipeline, as a run holds it: `pipeline_spec`, and `platform_spec` where there is one."""

    def __init__(self, specification: Mapping[str, Any]) -> None:
        pipeline = specification.get("pipeline_spec", specification)
        self.components: Json = {**pipeline["components"], "root": pipeline["root"]}
        self.defaults: Json = {
            name: parameter["defaultValue"]
            for name, parameter in pipeline["root"].get("inputDefinitions", {}).get("parameters", {}).items()
            if "defaultValue" in parameter
        }
        self.name: str = pipeline["pipelineInfo"]["name"]
        self._containers: Json = pipeline["deploymentSpec"]["executors"]
        placed = specification.get("platform_spec", {}).get("platforms", {}).get("kubernetes", {})
        self._placed: Json = placed.get("deploymentSpec", {}).get("executors", {})
        # By what a component's arguments are named: a hash of its container, if it has one (hashComponentContainer).
        containers = {name: self.container(component) for name, component in self.components.items()}
        self._known = {name: hashlib.sha256(text(one).encode()).hexdigest() if one else name for name, one in containers.items()}

    def container(self, component: Json) -> Json:
        """Image, command and resources of a component; empty for a group of tasks."""
        found: Json = self._containers.get(component.get("executorLabel", ""), {}).get("container", {})
        return found

    def kubernetes(self, component: Json) -> Json:
        """What Kubernetes is told about a component."""
        found: Json = self._placed.get(component.get("executorLabel", ""), {})
        return found

    def arguments(self) -> dict[str, str]:
        """The Workflow's arguments by name."""
        found: dict[str, str] = {}
        for name, component in self.components.items():
            known = self._known[name]
            found[f"components-{known}"] = text(component)
            if container := self.container(component):
                found[f"implementations-{known}"] = text(container)
            if kubernetes := self.kubernetes(component):
                found[f"kubernetes-{name}"] = text(kubernetes)
        return found

    def given(self, task: Json, task_name: str, iteration: bool = False) -> dict[str, str]:
        """What the driver of a task is given (dagDriverTask and containerDriverTask), with references."""
        component = task["componentRef"]["name"]
        known = self._known[component]
        found = {"component": f"{{{{workflow.parameters.components-{known}}}}}"}
        found |= {"task": text(task), "task-name": task_name, "parent-dag-id": "{{inputs.parameters.parent-dag-id}}"}
        if iteration:
            found["iteration-index"] = "{{inputs.parameters.iteration-index}}"
        if self.container(self.components[component]):
            found["container"] = f"{{{{workflow.parameters.implementations-{known}}}}}"
        if self.kubernetes(self.components[component]):
            found["kubernetes-config"] = f"{{{{workflow.parameters.kubernetes-{component}}}}}"
        return found

    def templates(self) -> Iterator[Json]:
        """A template for each group of tasks, two more for each loop, and one for each task that runs at the end."""
        for name, component in self.components.items():
            if "dag" not in component:
                continue
            tasks: list[Json] = []
            for key, task in component["dag"]["tasks"].items():
                if at_the_end(task):
                    yield _template(f"exit-hook-{name}-{key}", self._pair(key, task, key))
                elif "parameterIterator" in task:
                    of = task["componentRef"]["name"]
                    loop = [self._driver("iteration", task, key, group=True), _call("iteration-iterations", f"{of}-iteration")]
                    yield _template(f"{of}-{key}-iterator", loop)
                    yield _template(f"{of}-iteration", self._pair("iteration-item", task, key, iteration=True))
                    tasks.append(_call(key, f"{of}-{key}-iterator", after=task.get("dependentTasks", ())))
                else:
                    tasks += self._pair(key, task, key)
            yield _template(name, tasks)

    def _pair(self, name: str, task: Json, task_name: str, iteration: bool = False) -> list[Json]:
        component = task["componentRef"]["name"]
        group = "dag" in self.components[component]
        prepared = [] if group else ["pod-spec-patch", "cached-decision"]
        outputs = {
            one: f"{{{{tasks.{name}-driver.outputs.parameters.{one}}}}}" for one in prepared or ["execution-id", "condition"]
        }
        arguments = outputs if group else {**outputs, **retries(task)}
        call = _call(name, component if group else executor(task), arguments, after=[f"{name}-driver"])
        if "condition" in task.get("triggerPolicy", {}):
            call["when"] = f"{{{{tasks.{name}-driver.outputs.parameters.condition}}}} != false"
        return [self._driver(name, task, task_name, group, iteration), call]

    def _driver(self, name: str, task: Json, task_name: str, group: bool, iteration: bool = False) -> Json:
        template = "system-dag-driver" if group else "system-container-driver"
        after = () if iteration or at_the_end(task) else task.get("dependentTasks", ())
        return _call(f"{name}-driver", template, self.given(task, task_name, iteration), after)


def at_the_end(task: Json) -> bool:
    """Whether a task runs when others have ended, however they did."""
    return bool(task.get("triggerPolicy", {}).get("strategy") == AT_THE_END)


def executor(task: Json) -> str:
    """The template that runs a task's container (addContainerExecutorTemplate in container.go)."""
    return f"{'retry-' if 'retryPolicy' in task else ''}system-container-executor"


def retries(task: Json) -> dict[str, str]:
    """What a task's container is told about new attempts (getTaskRetryParametersWithValues in container.go)."""
    policy = task.get("retryPolicy", {})
    return {name: str(policy[key]).removesuffix("s") for name, key in RETRY.items() if key in policy}


def size(pipeline: Pipeline, parameters: Mapping[str, Any]) -> int:
    """Bytes of the Workflow without its nodes, for a run with these values of the pipeline's parameters."""
    runtime = text({"parameterValues": {**pipeline.defaults, **parameters}})
    used = {executor(task) for task in _containers(pipeline)}
    content = [as_parameters(pipeline.arguments()), [*pipeline.templates()], as_parameters({"runtime-config": runtime})]
    return SHARED + sum(EXECUTORS[one] for one in used) + len(text(content).encode())


def as_parameters(values: Mapping[str, str]) -> list[Json]:
    """Parameters as Argo lists them."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _containers(pipeline: Pipeline) -> Iterator[Json]:
    for component in pipeline.components.values():
        for task in component.get("dag", {}).get("tasks", {}).values():
            if pipeline.container(pipeline.components[task["componentRef"]["name"]]):
                yield task


def _template(name: str, tasks: list[Json]) -> Json:
    return {"name": name, "inputs": {"parameters": [{"name": "parent-dag-id"}]}, "dag": {"tasks": tasks}, **ANNOTATIONS}


def _call(name: str, template: str, arguments: Mapping[str, str] | None = None, after: Any = ()) -> Json:
    given = arguments or {"parent-dag-id": "{{inputs.parameters.parent-dag-id}}"}
    call: Json = {"name": name, "template": template, "arguments": {"parameters": as_parameters(given)}}
    return call | ({"depends": " && ".join(f"{one}.Succeeded" for one in after)} if after else {})
