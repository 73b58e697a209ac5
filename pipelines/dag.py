"""The pipeline of Kubeflow Pipelines (v2), made from a project's graph: the stages of its dvc.yaml, the same component functions.

What is taken from earlier runs. Kubeflow's cache compares a task's image, parameters and the ids of its input artifacts; it
knows neither what is behind a path or an alias nor which MLflow the environment names. So a set of images that is named by a path
is packed, and what follows trained, in every run, unless `Cluster.reuse` vouches that a source which keeps its name keeps its
content. A set that DVC tracks is named by its content (`Cluster.imports`): its address is a parameter of the task that fetches
it, so unchanged images are not fetched, packed and trained on again, and changed ones are. Never skipped are the check, which
looks at the environment, fine-tuning, which may begin from an alias of the registry, and registering, whose work is in MLflow.

Gates. A generator that its measurement rejects goes no further. They test a truth value that a task returns, which is all
that kfp.local can test, too. Whatever happens, the exit handler tells MLflow how it ended.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp import dsl
from kfp.dsl import base_component, component_factory, python_component, structures

from atelier.config.settings import load
from pipelines import form, steps
from pipelines.cluster import DATA_IMAGE, IMAGE, Cluster, PipelineError
from pipelines.graph import Graph, Item, Loop, Parameter, Source, Task, behind, gates, last, read
from pipelines.task import DECISION, TASK_ID, Bound
from pipelines.transformations import TRIALS, fetched, imported, parted, swept

__all__ = ["DATA_IMAGE", "IMAGE", "NAME", "Cluster", "PipelineError", "graph", "pipeline"]

NAME = "atelier"
STAGES = "dvc.yaml"  # beside params.yaml


def graph(cluster: Cluster, params: Path = form.PARAMS) -> Graph:
    """The graph of the project of `params` as the cluster wants it. Raises PipelineError."""
    found = read(params.parent / STAGES, load(params).model_dump(mode="json"))
    found = fetched(found, cluster.imports)
    if cluster.partitions > 1:
        found = parted(found, cluster.partitions)
    return swept(found) if cluster.trials else found


def pipeline(cluster: Cluster | None = None, params: Path = form.PARAMS) -> base_component.BaseComponent:
    """The pipeline, with one typed parameter for each value of `params` and that value as its default."""
    cluster = cluster or Cluster()
    leaves = form.leaves(params)
    signature = [_parameter(leaf.name, leaf.default, leaf.type) for leaf in leaves.values()]
    described = {leaf.name: leaf.description for leaf in leaves.values()}
    for section, uri in cluster.imports.items():
        signature.append(_parameter(imported(section), uri, str))
        described[imported(section)] = f"address of the images of {section} in DVC's remote, which names their content"
    if cluster.trials:
        signature.append(_parameter(TRIALS, [dict(trial) for trial in cluster.trials], list[dict[str, Any]]))
        described[TRIALS] = "what to try out: a list of settings of model and train, of which the best generator is taken"

    def build(*values: Any) -> None:
        by_key = dict(zip(leaves, values, strict=False))
        extra = dict(zip([one.name for one in signature[len(leaves) :]], values[len(leaves) :], strict=True))
        _Build(graph(cluster, params), by_key, extra, cluster).all()

    build.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    build.__doc__ = "\n".join(
        ["From images to registered generators.", "", "Args:"]
        + [f"    {name}: {description}" for name, description in described.items()]
    )
    result = dsl.pipeline(name=NAME, display_name="Atelier")(build)
    _add_choices(result, leaves)
    return result


def _parameter(name: str, default: Any, annotation: type) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def _add_choices(pipeline: base_component.BaseComponent, leaves: dict[str, form.Leaf]) -> None:
    """Makes the UI offer the allowed values as a list. KFP's SDK has no way to say so; the format and the UI have."""
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    for leaf in leaves.values():
        for choice in leaf.choices:
            text = isinstance(choice, str)
            parameters[leaf.name].literals.append(Value(string_value=choice) if text else Value(number_value=choice))


class _Build:
    """Tells KFP the tasks of a graph. `parameters` are the pipeline's by the keys of params.yaml, `extra` its others by name."""

    def __init__(self, graph: Graph, parameters: Mapping[str, Any], extra: Mapping[str, Any], cluster: Cluster) -> None:
        self.graph, self.parameters, self.extra, self.cluster = graph, parameters, extra, cluster
        self.gates = gates(graph)
        self.made: dict[str, Any] = {}

    def all(self) -> None:
        """Every task, between the check and the exit handler."""
        with dsl.ExitHandler(
            self.task(Task("finish", steps.finish, step="finish", values={"last": last(self.graph)})), name="pipeline"
        ):
            self.task(Task("check", steps.check, step="check"))
            self.behind_gates(list(self.graph.values()), ())

    def behind_gates(self, tasks: list[Task], opened: tuple[str, ...]) -> None:
        """Tasks whose gates begin with those that are open: what needs no other one, then a condition for each next one."""
        for task in tasks:
            if self.gates[task.name] == opened and task.name not in self.made:
                self.loop(task.loop) if task.loop else self.task(task)
        waiting = [task for task in tasks if len(self.gates[task.name]) > len(opened)]
        for gate in dict.fromkeys(self.gates[task.name][len(opened)] for task in waiting):
            decision = self.made[gate].outputs[DECISION]
            with dsl.If(decision == True, name=f"{gate} is of use"):  # noqa: E712 - a condition of KFP, not Python's
                self.behind_gates([task for task in waiting if self.gates[task.name][len(opened)] == gate], (*opened, gate))

    def loop(self, loop: Loop) -> None:
        """The tasks of a loop. KFP collects their outputs where it ends."""
        items = self.extra[loop.items.name] if isinstance(loop.items, Parameter) else list(loop.items)
        with dsl.ParallelFor(items, name=loop.name) as item:
            for task in self.graph.values():
                if task.loop == loop:
                    self.task(task, item)

    def task(self, task: Task, item: Any = None) -> dsl.PipelineTask:
        """One task, with all that it is given and where it is placed."""
        given = {name: self.output(source) for name, source in task.inputs.items()}
        for name, value in task.values.items():
            given[name] = self.extra[value.name] if isinstance(value, Parameter) else item if isinstance(value, Item) else value
        if not may_be_reused(task) and task.name in self.graph:  # an earlier run's outputs cannot know the id of this task
            given[TASK_ID] = dsl.PIPELINE_TASK_ID_PLACEHOLDER
        bound = Bound(task.component, task.step, task.section)
        settings = {form.parameter(key): self.parameters[key] for key in bound.keys}
        made = component(task.name, bound, self.cluster.image_of(task.component), frozenset(given))(**settings, **given)
        self.cluster.place(made, task.component, self.parameters)
        made.set_caching_options(self.reusable(task)).set_display_name(task.name.replace("_", " ").capitalize())
        if not task.inputs and "check" in self.made:
            made.after(self.made["check"])
        self.made[task.name] = made
        return made

    def output(self, source: Source) -> Any:
        """What KFP calls an output of a task."""
        found = self.made[source.task].outputs[source.output]
        return dsl.Collected(found) if source.collected else found

    def reusable(self, task: Task) -> bool:
        """Whether Kubeflow may take the outputs from an earlier run: they follow from what it compares."""
        if not may_be_reused(task):
            return False
        before = [self.graph[name] for name in behind(self.graph, task.name)]
        return self.cluster.reuse or all("raw" in one.inputs for one in before if "raw" in one.component.arguments)


def may_be_reused(task: Task) -> bool:
    """Whether what a task makes follows from its inputs. An alias of the registry moves from one generator to another."""
    aliased = any(str(value).startswith("models:/") for value in task.values.values())
    return task.component.reusable in (True, task.section or None) and not aliased


def component(name: str, bound: Bound, image: str, given: frozenset[str]) -> base_component.BaseComponent:
    """The KFP component of a task, of its inputs `given` besides settings: its function's interface, and a command."""
    told = {name for name, one in bound.component.arguments.items() if one.type is dsl.PipelineTaskFinalStatus}  # by KFP
    function = bound.function(given | told)
    spec = component_factory.extract_component_interface(function, name=name)
    spec.implementation = structures.Implementation(
        container=structures.ContainerSpecImplementation(
            image=image, command=bound.command, args=["--executor_input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        )
    )
    return python_component.PythonComponent(spec, function)
