"""What a cluster makes of a graph: images fetched by their address in DVC's remote, packing by several tasks, a sweep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from components.choose import choose
from components.fetch import fetch
from components.prepare import merge_parts, prepare, prepare_part
from components.train import train
from pipelines.cluster import PipelineError
from pipelines.form import TRIALS
from pipelines.graph import Graph, Item, Loop, Parameter, Source, Task, judged, ordered

MOST_TRIALS = 100


def imported(section: str) -> str:
    """Name of the pipeline parameter that holds the address of a section's images in DVC's remote."""
    return f"{section.replace('.', '_')}_dvc_uri"


def fetched(graph: Graph, sections: Collection[str]) -> Graph:
    """The graph in which the images of some sections come from DVC's remote; who wants to know their address is told."""
    result: Graph = {}
    for name, task in graph.items():
        if task.component is prepare and task.section in sections:
            before = Task(_as(task, "fetch"), fetch, values={"uri": Parameter(imported(task.section))})
            result[before.name] = before
            task = replace(task, inputs={**task.inputs, "raw": Source(before.name, "fetched")})
        addresses = {
            f"{argument}_address": Parameter(imported(graph[source.task].section))
            for argument, source in task.inputs.items()
            if f"{argument}_address" in task.component.arguments and graph[source.task].section in sections
        }
        result[name] = replace(task, values={**task.values, **addresses})
    return result


def parted(graph: Graph, parts: int) -> Graph:
    """The graph in which every set of images is processed by `parts` tasks beside each other."""
    result, moved = Graph(), {}
    for name, task in graph.items():
        if task.component is not prepare:
            result[name] = task
            continue
        loop = Loop(f"parts {_rest(task)}".strip(), tuple(range(1, parts + 1)))
        values = {**task.values, "part": Item(), "parts": parts}
        part = replace(task, name=_as(task, "part"), component=prepare_part, step=f"{task.step}_part", values=values, loop=loop)
        collected = {"parts": Source(part.name, "processed", collected=True)}
        merge = replace(task, name=_as(task, "merge"), component=merge_parts, inputs=collected)
        result |= {part.name: part, merge.name: merge}
        moved[Source(name, "images")] = Source(merge.name, "images")
    return _moved(result, moved)


def swept(graph: Graph) -> Graph:
    """The graph in which the training from scratch is done for each trial, and what follows goes on with the best generator."""
    trained = [task for task in graph.values() if task.component is train and task.section == "train"]
    if len(trained) != 1:
        raise PipelineError(f"--sweep: dvc.yaml trains {len(trained)} generators from scratch, and trials are of exactly one")
    (training,) = trained
    model = Source(training.name, "checkpoint")
    measuring = [task for task in graph.values() if model in judged(task)]
    if len(measuring) != 1:
        raise PipelineError(f"--sweep: {len(measuring)} stages measure {training.name}, and the best is chosen by exactly one")
    loop = Loop("trials", Parameter(TRIALS))
    evaluation = Source(measuring[0].name, "evaluation")
    inputs = {"checkpoints": replace(model, collected=True), "evaluations": replace(evaluation, collected=True)}
    best = Task("choose", choose, step="choose", inputs=inputs)
    others = {name: task for name, task in graph.items() if task not in (training, measuring[0])}
    looped = {
        training.name: replace(training, values={**training.values, "trial": Item()}, loop=loop),
        measuring[0].name: replace(measuring[0], loop=loop),
    }
    moved = {model: Source(best.name, "checkpoint"), evaluation: Source(best.name, "evaluation")}
    return ordered({**looped, best.name: best, **_moved(others, moved)})


def _moved(graph: Graph, moved: dict[Source, Source]) -> Graph:
    """The graph whose tasks take other outputs."""
    return {
        name: replace(task, inputs={argument: moved.get(source, source) for argument, source in task.inputs.items()})
        for name, task in graph.items()
    }


def _as(task: Task, verb: str) -> str:
    """The name of a task that does a part of another one's work: prepare_base -> fetch_base."""
    return f"{verb}_{_rest(task)}".rstrip("_")


def _rest(task: Task) -> str:
    return task.name.removeprefix("prepare").removeprefix("_")
