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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp import dsl
from kfp.dsl import base_component, component_factory, python_component, structures

from atelier.config.section import SettingsError
from pipelines import check as checks
from pipelines import form, steps
from pipelines.cluster import DATA_IMAGE, IMAGE, Cluster, PipelineError
from pipelines.graph import Graph, Item, Loop, Parameter, Source, Task, behind, gates, last, read
from pipelines.project import ProjectSettings
from pipelines.task import DECISION, SETTINGS, TASK_ID, Bound
from pipelines.transformations import MOST_TRIALS, fetched, imported, parted, swept

__all__ = ["DATA_IMAGE", "IMAGE", "NAME", "Cluster", "PipelineError", "graph", "pipeline"]

NAME = "atelier"
PLACEHOLDERS = ("accelerator_count", "accelerator_type", "cpu_request", "memory_request")
STAGES = Path("dvc.yaml")  # of the project in this folder


def graph(cluster: Cluster, project: ProjectSettings, stages: Path = STAGES) -> Graph:
    """The graph of a project as the cluster wants it. Raises PipelineError."""
    written = read(stages, project.plain())
    for task in written.values():
        _check_names(task, project)
    found = fetched(written, cluster.imports)
    if cluster.partitions > 1:
        found = parted(found, cluster.partitions)
    return swept(found) if cluster.trials else found


def _check_names(task: Task, project: ProjectSettings) -> None:
    """Refuses a task for a section or a product that the project has not. Raises PipelineError."""
    try:
        for reading in task.component.readings.values():
            reading.plain(project.named(), task.section)
    except SettingsError as error:
        raise PipelineError(f"dvc.yaml: stage {task.name}: {error}") from error
    product = task.values.get("product")
    if product is not None and product not in project.products:
        known = ", ".join(project.products)
        raise PipelineError(f"dvc.yaml: stage {task.name}: params.yaml has no product {product}, but {known}; name one of them")


def handed(graph: Graph) -> dict[str, dict[str, str]]:
    """What the check hands to the tasks of a graph: their readings by the names of its outputs. Equal readings share one."""
    found: dict[str, dict[str, str]] = {}
    for task in graph.values():
        readings = bound(task).readings
        if readings and readings not in found.values():
            name = (task.section or task.component.reference.rpartition(":")[2]).replace(".", "_")
            found[f"settings_{name if f'settings_{name}' not in found else task.name}"] = readings
    return found


def pipeline(
    cluster: Cluster, project: ProjectSettings, stages: Path = STAGES, trials: int = MOST_TRIALS
) -> base_component.BaseComponent:
    """The pipeline of a project: `project` are its values, `stages` is its dvc.yaml. Of a sweep at most `trials` fit into a run.

    Raises PipelineError.
    """
    leaves = form.leaves(project)
    signature = [_parameter(leaf.name, leaf.default, leaf.type) for leaf in leaves.values()]
    signature.append(_parameter(form.OVERRIDES, {}, dict))
    signature += [_parameter(imported(section), uri, str) for section, uri in cluster.imports.items()]
    if cluster.trials:
        signature.append(_parameter(form.TRIALS, [dict(trial) for trial in cluster.trials], list[dict[str, Any]]))

    def build(*values: Any) -> None:
        given = dict(zip([one.name for one in signature], values, strict=True))
        _Build(graph(cluster, project, stages), project, leaves, given, cluster, trials).all()

    build.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    build.__doc__ = "From images to registered generators."  # no UI shows descriptions of parameters, and each takes room
    result = dsl.pipeline(name=NAME, display_name="Atelier")(build)
    _add_choices(result, leaves)
    _take_out_placeholders(result)
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


def _take_out_placeholders(pipeline: base_component.BaseComponent) -> None:
    """Takes out the inputs that KFP's SDK adds to a task beside each parameter by which the task is placed.

    They hold a placeholder for it. No driver fills that in, the UI shows it, and it would be a part of the cache's key.
    """
    for component in pipeline.pipeline_spec.components.values():
        for task in component.dag.tasks.values():
            for name in PLACEHOLDERS:
                task.inputs.parameters.pop(name, None)


class _Build:
    """Tells KFP the tasks of a graph of `project`. `given` are the pipeline's parameters by name, `leaves` those of the form."""

    def __init__(
        self,
        graph: Graph,
        project: ProjectSettings,
        leaves: Mapping[str, form.Leaf],
        given: Mapping[str, Any],
        cluster: Cluster,
        trials: int,
    ) -> None:
        self.graph, self.project, self.leaves, self.given, self.cluster = graph, project, leaves, given, cluster
        self.trials = trials
        self.gates, self.handed = gates(graph), handed(graph)
        self.made: dict[str, Any] = {}
        values = project.plain()
        placement = [f"cluster.{key}" for key in values["cluster"]]
        self.parameters = {
            key: given[leaves[key].name] if key in leaves else form.value_at(values, key) for key in (form.EXPERIMENT, *placement)
        }

    def all(self) -> None:
        """Every task, between the check and the exit handler."""
        finish = Task("finish", steps.finish, step="finish", values={"last": last(self.graph)})
        with dsl.ExitHandler(self.task(finish), name="pipeline"):
            self.check()
            self.behind_gates(list(self.graph.values()), ())

    def check(self) -> None:
        """The task that all others wait for, and get their settings from."""
        check = checks.Check(self.project, self.handed, self.trials if self.cluster.trials else 0)
        types = {leaf.name: leaf.type for leaf in self.leaves.values()} | {form.TRIALS: list[dict[str, Any]]}
        given = {name: self.given[name] for name in (form.OVERRIDES, *types) if name in self.given}
        function = check.function([*given], types)
        made = component(check.step, function, check.command, self.cluster.image_of(check.component))(**given)
        self.place(made, Task(check.step, check.component, step=check.step))

    def behind_gates(self, tasks: list[Task], opened: tuple[str, ...]) -> None:
        """Tasks whose gates begin with those that are open: what needs no other one, then a condition for each next one."""
        for task in tasks:
            if self.gates[task.name] == opened and task.name not in self.made:
                self.loop(task.loop) if task.loop else self.task(task)
        waiting = [task for task in tasks if len(self.gates[task.name]) > len(opened)]
        for gate in dict.fromkeys(self.gates[task.name][len(opened)] for task in waiting):
            decision = self.made[gate].outputs[DECISION]
            with dsl.If(decision == True, name="good enough?"):  # noqa: E712 - a condition of KFP, not Python's
                self.behind_gates([task for task in waiting if self.gates[task.name][len(opened)] == gate], (*opened, gate))

    def loop(self, loop: Loop) -> None:
        """The tasks of a loop. KFP collects their outputs where it ends."""
        if isinstance(loop.items, Parameter):  # trials, each of which wants an accelerator
            items, at_once = self.given[loop.items.name], self.cluster.parallel
        else:
            items, at_once = list(loop.items), 0
        with dsl.ParallelFor(items, name=loop.name, parallelism=at_once) as item:
            for task in self.graph.values():
                if task.loop == loop:
                    self.task(task, item)

    def task(self, task: Task, item: Any = None) -> dsl.PipelineTask:
        """One task, with all that it is given and where it is placed."""
        given = {name: self.output(source) for name, source in task.inputs.items()}
        for name, value in task.values.items():
            given[name] = self.given[value.name] if isinstance(value, Parameter) else item if isinstance(value, Item) else value
        if not may_be_reused(task) and task.name in self.graph:  # an earlier run's outputs cannot know the id of this task
            given[TASK_ID] = dsl.PIPELINE_TASK_ID_PLACEHOLDER
        told = {name for name, one in task.component.arguments.items() if one.type is dsl.PipelineTaskFinalStatus}  # by KFP
        given |= self.settings(task)
        function = bound(task).function({*given, *told})
        made = component(task.name, function, bound(task).command, self.cluster.image_of(task.component))(**given)
        self.place(made, task)
        if not task.inputs and task.name in self.graph:
            made.after(self.made["check"])
        return made

    def place(self, made: dsl.PipelineTask, task: Task) -> None:
        """Where a task runs, how it is called, and whether Kubeflow may take it from an earlier run."""
        self.cluster.place(made, task.component, self.parameters)
        made.set_caching_options(self.reusable(task)).set_display_name(task.name.replace("_", " ").capitalize())
        self.made[task.name] = made

    def settings(self, task: Task) -> dict[str, Any]:
        """What a task is told of params.yaml, by the check. The exit handler, which runs without it too, is told by the form."""
        readings = bound(task).readings
        if "check" in self.made:
            found = next((name for name, one in self.handed.items() if one == readings), None)
            return {SETTINGS: self.made["check"].outputs[found]} if found else {}
        return {name: self.parameters[text] for name, text in readings.items()}

    def output(self, source: Source) -> Any:
        """What KFP calls an output of a task."""
        found = self.made[source.task].outputs[source.output]
        return dsl.Collected(found) if source.collected else found

    def reusable(self, task: Task) -> bool:
        """Whether Kubeflow may take the outputs from an earlier run: they follow from what it compares."""
        if task.name not in self.graph or not may_be_reused(task):
            return False
        before = [self.graph[name] for name in behind(self.graph, task.name)]
        return self.cluster.reuse or all("raw" in one.inputs for one in before if "raw" in one.component.arguments)


def may_be_reused(task: Task) -> bool:
    """Whether what a task makes follows from its inputs. An alias of the registry moves from one generator to another."""
    aliased = any(str(value).startswith("models:/") for value in task.values.values())
    return task.component.reusable in (True, task.section or None) and not aliased


def bound(task: Task) -> Bound:
    """The task as a container runs it."""
    return Bound(task.component, task.step, task.section)


def component(name: str, function: Callable[..., Any], command: list[str], image: str) -> base_component.BaseComponent:
    """The KFP component of a task: the interface of its function, and a command."""
    spec = component_factory.extract_component_interface(function, name=name)
    spec.implementation = structures.Implementation(
        container=structures.ContainerSpecImplementation(
            image=image, command=command, args=["--executor_input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        )
    )
    return python_component.PythonComponent(spec, function)
