"""A project's graph, read from its dvc.yaml: each stage a task, which calls the component of the stage's command.

What a command's option names and another stage makes is an edge. `foreach` makes a task for each entry. Options that say where
something lies on a machine are left to the runner. `gates` says behind which decisions a task stands: a generator that its
measurement rejects goes no further.
"""

from __future__ import annotations

import pkgutil
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from components.contract import Argument, Component, Direction
from pipelines.cluster import PipelineError

PLACES = ("states", "cache", "mirror", "device", "workers")  # arguments that a machine decides
TEMPLATE = re.compile(r"\$\{([\w.]+)\}")
MODEL = "Model"  # type of what gates let pass: a generator or a detector


@dataclass(frozen=True)
class Source:
    """An output of a task; `collected` of all its runs in a loop."""

    task: str
    output: str
    collected: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter of the pipeline, by name."""

    name: str


@dataclass(frozen=True)
class Item:
    """What the loop around a task has for this run of it."""


@dataclass(frozen=True)
class Loop:
    """Tasks that run for each of several items."""

    name: str
    items: tuple[int, ...] | Parameter


@dataclass(frozen=True)
class Task:
    """A component in the graph: its `section` where it has a choice, its name in MLflow (`step`), what it is given."""

    name: str
    component: Component[..., Any]
    section: str = ""
    step: str = ""
    inputs: Mapping[str, Source] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    loop: Loop | None = None


Graph = dict[str, Task]


def read(file: Path, values: Mapping[str, Any]) -> Graph:
    """The graph of a dvc.yaml, each task after those that it needs. `values` are those of params.yaml, for templates.

    Raises PipelineError.
    """
    try:
        stages = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))["stages"]
        filled = dict(_stages(stages, values))
    except OSError as error:
        raise PipelineError(f"{file}: cannot be read ({error.strerror}); run in a project, which has a dvc.yaml") from error
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"{file}: not as DVC wants it ({' '.join(str(error).split())}); `dvc stage list` says more"
        ) from error
    commands = {name: _parsed(f"{file.name}: stage {name}", text) for name, text in filled.items()}
    makers: dict[str, Source] = {}
    for name, (component, options) in commands.items():
        for argument in component.artifacts(Direction.OUT).values():
            assert argument.artifact
            makers |= {path: Source(name, argument.artifact.name) for path in options.get(argument.flag, ())}
    return ordered({name: _task(name, *command, makers) for name, command in commands.items()})


def ordered(graph: Graph) -> Graph:
    """The same tasks, each after those whose outputs it takes, else as they were. Raises PipelineError for a circle."""
    waiting, result = dict(graph), Graph()
    while waiting:
        free = next((one for one in waiting.values() if not any(source.task in waiting for source in one.inputs.values())), None)
        if free is None:
            raise PipelineError(f"dvc.yaml: {', '.join(waiting)} need each other's outputs; take one of the edges out")
        result[free.name] = waiting.pop(free.name)
    return result


def behind(graph: Graph, name: str) -> set[str]:
    """A task, and all whose outputs reach it."""
    return {name}.union(*(behind(graph, source.task) for source in graph[name].inputs.values()))


def gates(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each task the tasks that have to call a generator of use before it runs, in the order of the graph."""
    found: dict[str, tuple[str, ...]] = {}
    judges = {source: name for name, task in graph.items() if task.component.reason for source in judged(task)}
    for name, task in graph.items():
        before: set[str] = set()
        for source in task.inputs.values():
            before |= {*found[source.task]}
            if source in judges and source not in judged(task):
                before.add(judges[source])
        found[name] = tuple(one for one in graph if one in before)
    return found


def last(graph: Graph) -> list[str]:
    """The steps, by their names in MLflow, that no other comes after; what keeps no record there is none."""
    recorded = {name: task for name, task in graph.items() if "step" in task.component.arguments}
    before = set().union(*(behind(graph, name) - {name} for name in recorded))
    return [task.step for name, task in recorded.items() if name not in before]


def judged(task: Task) -> set[Source]:
    """The models that the decision of a task is about: the one that it makes, or else those that it cannot do without."""
    if not task.component.reason:
        return set()
    outputs = (one.artifact for one in task.component.artifacts(Direction.OUT).values())
    made = {Source(task.name, one.name) for one in outputs if one and one.type == MODEL}
    needed = (name for name, one in task.component.artifacts(Direction.IN).items() if _is_model(one) and not one.optional)
    return made or {task.inputs[name] for name in needed}


def _is_model(argument: Argument) -> bool:
    return argument.artifact is not None and argument.artifact.type == MODEL


def _stages(stages: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and commands, with `foreach` unrolled and templates filled in as DVC does it."""
    for name, stage in stages.items():
        if "foreach" not in stage:
            yield name, _filled(stage["cmd"], values)
            continue
        each = _value(stage["foreach"], values) if isinstance(stage["foreach"], str) else stage["foreach"]
        listed = {index if isinstance(item, Mapping) else item: item for index, item in enumerate(each)}
        for key, item in (each if isinstance(each, Mapping) else listed).items():
            yield f"{name}_{key}", _filled(stage["do"]["cmd"], {**values, "key": key, "item": item})


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return TEMPLATE.sub(lambda found: str(_value(found[0], values)), text)


def _value(template: str, values: Mapping[str, Any]) -> Any:
    found = TEMPLATE.fullmatch(template)
    value: Any = values
    for part in found[1].split(".") if found else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    if found is None or value is None:
        raise PipelineError(f"dvc.yaml: {template} names nothing in params.yaml; write ${{section.key}}, ${{item}} or ${{key}}")
    return value


def _parsed(where: str, command: str) -> tuple[Component[..., Any], dict[str, list[str]]]:
    """The component that a command calls, and the values of each option. Raises PipelineError."""
    python, flag, module, *words = [*shlex.split(command), "", "", ""]
    _, _, name = module.rpartition(".")
    if (python, flag, module) != ("python", "-m", f"components.{name}"):
        raise PipelineError(f"{where}: `{command}` is no component; write python -m components.NAME and its options")
    try:
        component: Component[..., Any] = pkgutil.resolve_name(f"{module}:{name}")
    except (ImportError, AttributeError) as error:
        raise PipelineError(f"{where}: there is no {module} ({error}); `ls components` shows them") from error
    options: dict[str, list[str]] = {}
    known = {argument.flag for argument in component.arguments.values()}
    for word in filter(None, words):
        if word.startswith("--"):
            options[word] = []
        elif options:
            options[next(reversed(options))].append(word)
    if unknown := sorted({*options} - known):
        raise PipelineError(f"{where}: {module} takes no {', '.join(unknown)}; `python -m {module} --help` lists its options")
    return component, options


def _task(name: str, component: Component[..., Any], options: dict[str, list[str]], makers: dict[str, Source]) -> Task:
    inputs: dict[str, Source] = {}
    values: dict[str, Any] = {}
    for argument in component.arguments.values():
        given = options.get(argument.flag)
        if not given and argument.option and not argument.optional and not argument.option.default:
            raise PipelineError(
                f"dvc.yaml: stage {name}: {argument.flag} is missing; `python -m {component.reference.partition(':')[0]} --help`"
            )
        if argument.direction is Direction.OUT or not given or argument.name in PLACES:
            continue
        if argument.direction is None:
            found = [argument.type(one) for one in given]
            values[argument.name] = found if argument.many else found[0]
            continue
        if unmade := [path for path in given if path not in makers]:
            raise PipelineError(
                f"dvc.yaml: stage {name}: no stage makes {unmade[0]} ({argument.flag}); add it to the outs of one"
            )
        sources = [makers[path] for path in given]
        inputs |= (
            {argument.numbered(place): one for place, one in enumerate(sources)} if argument.many else {argument.name: sources[0]}
        )
    choice = component.arguments.get("section")
    section = values.pop("section", choice.default if choice else "")
    return Task(name, component, section, values.pop("step", name), inputs, values)
