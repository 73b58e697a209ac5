"""The pipeline compiled, and run on this machine."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sys
import tempfile
import uuid
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from kfp import compiler, local
from kfp.dsl import base_component
from kfp.local.orchestrator import task_spec_utils
from kfp.local.subprocess_task_handler import SubprocessTaskHandler
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec
from ruamel.yaml import YAML

from atelier.io.files import check_folders
from atelier.metrics import acceptance
from atelier.tracking.closing import close_what_is_open
from atelier.tracking.place import LOCAL_URI
from components.contract import Component, Direction
from pipelines import check, dag, environment, form
from pipelines.argo import size
from pipelines.containers import docker_runner
from pipelines.dag import Cluster, PipelineError
from pipelines.graph import Graph, gates
from pipelines.project import ProjectSettings
from pipelines.transcript import Transcript
from pipelines.versioned import LOCAL_SOURCES

MARK = "pipelinechannel--"
_ITERATION = task_spec_utils.create_parameter_loop_iteration_task_spec


def compiled(cluster: Cluster, project: ProjectSettings) -> str:
    """The pipeline of the project in this folder as YAML for Kubeflow Pipelines; equal inputs give equal text.

    Raises PipelineError for one whose run would not fit into a Workflow of Argo.
    """
    text = _written(dag.pipeline(cluster, project))
    values = {name: check.told_to(project, readings) for name, readings in dag.handed(dag.graph(cluster, project)).items()}
    found = specification(text)
    size.refuse_what_does_not_fit(found, values)
    if not cluster.trials:
        return text
    most = size.most_trials(found, values)
    if len(cluster.trials) > most:
        raise PipelineError(
            f"--sweep: {len(cluster.trials)} trials, and {most} fit into a run: Argo keeps all of it in one object of Kubernetes "
            "and ends a run that outgrows it, after its trials were trained; sweep fewer values, or submit several runs"
        )
    return _written(dag.pipeline(cluster, project, trials=most))


def specification(text: str) -> dict[str, Any]:
    """A compiled pipeline as a run holds it: what is for Kubernetes stands beside the graph."""
    pipeline, *platforms = YAML(typ="safe", pure=True).load_all(text)
    return {"pipeline_spec": pipeline, "platform_spec": platforms[0]} if platforms else pipeline


def _written(pipeline: base_component.BaseComponent) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        # KFP's comments at the top repeat the form, and list the keys of a mapping in an order that changes from run to run.
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    # By this KFP's SDK marks what a group of tasks is given; kfp.local needs it, no cluster does, and people read it in the UI.
    return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines)).replace(MARK, "")


def run_local(
    settings: ProjectSettings, project: ProjectSettings, output: Path, states: Path, cache: Path, cluster: Cluster | None = None
) -> Path:
    """Runs the pipeline of `project`, in this folder, by `settings` on this machine; returns a new folder below `output`.

    Each task is a process of this environment, or where the cluster names images a container of its image.
    kfp.local may call a pipeline a success whose steps were skipped, so what each step should have left is looked for.
    Raises PipelineError naming the step that failed or left nothing, or why a generator is rejected.
    """
    check_folders(output, states, cache)
    cluster = replace(cluster or Cluster(), retries=False)  # no node is lost here, and what fails would fail again
    name = f"local-{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    root = output.resolve() / name
    places = {states.resolve(): "rw", cache.resolve(): "rw"}
    # The tasks are processes of their own: they learn of these through the environment, as they do on a cluster.
    os.environ |= {
        environment.PIPELINE_RUN: name,
        environment.STATES: str(states.resolve()),
        environment.CACHE: str(cache.resolve()),
    }
    os.environ.setdefault(environment.TRACKING, LOCAL_URI)
    for about in ("You may be attem", "Task .* have no effect"):  # of what means something on a cluster only
        warnings.filterwarnings("ignore", message=about)
    transcript = Transcript(sys.stdout)
    with contextlib.ExitStack() as stack:
        runner: Any = local.SubprocessRunner(use_venv=False)
        if cluster.has_images:
            settings = _for_containers(settings, cluster, places)
            runner = stack.enter_context(docker_runner(places))
        # kfp.local deletes its workspace after the run, so it gets one that nobody else uses.
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stdout(transcript))
        local.init(runner, pipeline_root=str(root), workspace_root=f"{scratch}/workspace")
        # kfp.local takes for Python only what names KFP's executor in its command; pipelines.task calls that.
        stack.enter_context(mock.patch.object(SubprocessTaskHandler, "validate_not_container_component"))
        # It puts the item of a loop in the place of everything that the loop is given by a task.
        stack.enter_context(mock.patch.object(task_spec_utils, _ITERATION.__name__, _iteration))
        try:
            dag.pipeline(cluster, project)(**form.filled(settings, project))
        except KeyboardInterrupt:
            close_what_is_open(name, "CANCELED")
            raise
        except RuntimeError as error:
            failed, reason = transcript.failure
            raise PipelineError(f"step {failed} failed: {reason} (see above; what was made until then is in {root})") from error
    _check_outputs(root, transcript.tasks, dag.graph(cluster, project))
    return root


def _iteration(loop: PipelineTaskSpec, item: Any, name: str) -> PipelineTaskSpec:
    """One run of a loop, with what other tasks give to it."""
    made = _ITERATION(loop, item, name)
    for argument, source in loop.inputs.parameters.items():
        if source.HasField("task_output_parameter"):
            made.inputs.parameters[argument].CopyFrom(source)
    return made


def _for_containers(settings: ProjectSettings, cluster: Cluster, places: dict[Path, str]) -> ProjectSettings:
    """Settings whose paths mean the same in a container; `places`, the folders to mount, are made and gain the images'."""
    if not os.environ[environment.TRACKING].startswith(("http://", "https://")):
        raise PipelineError("containers reach no MLflow in a file; set MLFLOW_TRACKING_URI to a server (`make services` has one)")
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    changed = {}
    for name, chosen in settings.data.items():
        if chosen.source in LOCAL_SOURCES and f"data.{name}" not in cluster.imports:
            path = Path(chosen.path).resolve()
            places[path] = "ro"
            changed[name] = chosen.model_copy(update={"path": str(path)})
    return settings.model_copy(update={"data": {**settings.data, **changed}})


def _check_outputs(root: Path, executed: list[str], graph: Graph) -> None:
    """Raises PipelineError where a task that ran left nothing, or a task did not run and no gate tells why."""
    for name, task in graph.items():
        count = executed.count(task_name(name))
        for artifact in outputs(task.component) if count else []:
            found = [path for path in root.glob(f"**/{task_name(name)}/{artifact}") if path.stat().st_size]
            if len(found) != count:
                raise PipelineError(f"step {name} left no {artifact} in {root}; its messages are above")
    for name in sorted({gate for before in gates(graph).values() for gate in before}):
        for folder in root.glob(f"*/{task_name(name)}/evaluation"):
            if reason := acceptance.read(folder):
                raise PipelineError(
                    f"{task_name(name)}: the generator is rejected ({reason}), so the pipeline went no further; train it "
                    f"better, or change that limit in params.yaml. Its report is {folder / 'report.html'}"
                )
    if not {task_name(name) for name in graph} <= {*executed}:
        raise PipelineError(f"kfp.local skipped the end of the pipeline without a reason; what was made is in {root}")


def outputs(component: Component[..., Any]) -> list[str]:
    """Names of the files and folders that a task writes. (Metrics are not written but handed over.)"""
    made = component.artifacts(Direction.OUT).values()
    return [*(one.artifact.name for one in made if one.artifact), *component.pages]


def task_name(name: str) -> str:
    """Name of a task in Kubeflow."""
    return name.replace("_", "-")
