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

from kfp import compiler, local

from atelier.io.files import atomic_write, check_file, check_folders
from atelier.metrics import acceptance
from atelier.tracking.place import LOCAL_URI
from pipelines import dag, execute, form, steps
from pipelines.containers import docker_runner
from pipelines.dag import Cluster, PipelineError
from pipelines.project import ProjectSettings
from pipelines.transcript import Transcript
from pipelines.versioned import LOCAL_SOURCES


def compiled(cluster: Cluster, params: Path = form.PARAMS) -> str:
    """The pipeline as YAML for Kubeflow Pipelines; equal inputs give equal text."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(dag.pipeline(cluster, params), str(file))
        # KFP's comments at the top repeat the form, and list the keys of a mapping in an order that changes from run to run.
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def run_local(settings: ProjectSettings, output: Path, states: Path, cache: Path, cluster: Cluster | None = None) -> Path:
    """Runs the pipeline of `cluster` on this machine and returns the folder of the run, a new one below `output`.

    Each task is a process of this environment, or where the cluster names images a container of its image.
    kfp.local may call a pipeline a success whose steps were skipped, so what each step should have left is looked for.
    Raises PipelineError naming the step that failed or left nothing, or why a generator is of no use.
    """
    check_folders(output, states, cache)
    cluster = replace(cluster or Cluster(), retries=False)  # no node is lost here, and what fails would fail again
    name = f"local-{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    root = output.resolve() / name
    places = {states.resolve(): "rw", cache.resolve(): "rw"}
    # The tasks are processes of their own: they learn of these through the environment, as they do on a cluster.
    os.environ |= {execute.PIPELINE_RUN: name, execute.STATES: str(states.resolve()), execute.CACHE: str(cache.resolve())}
    os.environ.setdefault(execute.TRACKING, LOCAL_URI)
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
        try:
            dag.pipeline(cluster)(**form.filled(settings))
        except RuntimeError as error:
            failed, reason = transcript.failure
            raise PipelineError(f"step {failed} failed: {reason} (see above; what was made until then is in {root})") from error
    _check_outputs(root, transcript.tasks)
    return root


def _for_containers(settings: ProjectSettings, cluster: Cluster, places: dict[Path, str]) -> ProjectSettings:
    """Settings whose paths mean the same in a container; `places`, the folders to mount, are made and gain the images'."""
    if not os.environ[execute.TRACKING].startswith(("http://", "https://")):
        raise PipelineError("containers reach no MLflow in a file; set MLFLOW_TRACKING_URI to a server (`make services` has one)")
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    changed = {}
    for section in ("data", "target"):
        chosen = getattr(settings, section)
        if chosen.source in LOCAL_SOURCES and section not in cluster.imports:
            path = Path(chosen.path).resolve()
            places[path] = "ro"
            changed[section] = chosen.model_copy(update={"path": str(path)})
    return settings.model_copy(update=changed)


def _check_outputs(root: Path, executed: list[str]) -> None:
    """Raises PipelineError where a task that ran left nothing, or a task did not run and no gate tells why."""
    for step in steps.STEPS.values():
        count = executed.count(task_name(step))
        for artifact in outputs(step) if count else []:
            found = [path for path in root.glob(f"**/{task_name(step)}/{artifact}") if path.stat().st_size]
            if len(found) != count:
                raise PipelineError(f"step {step.name} left no {artifact} in {root}; its messages are above")
    for name in ("evaluate-base", "choose", "evaluate-finetuned"):
        for folder in root.glob(f"*/{name}/evaluation"):
            if objection := acceptance.read(folder):
                raise PipelineError(
                    f"{name}: the generator is of no use ({objection}), so the pipeline went no further; train it better, or "
                    f"change that limit in params.yaml. Its report is {folder / 'report.html'}"
                )
    if "register" not in executed:
        raise PipelineError(f"kfp.local skipped the end of the pipeline without a reason; what was made is in {root}")


def outputs(step: steps.Step) -> list[str]:
    """Names of the files and folders that a step writes. (Metrics are not written but handed over.)"""
    return [name for name, kind in step.arguments.items() if kind.startswith("Output[") and kind != "Output[Metrics]"]


def task_name(step: steps.Step) -> str:
    """Name of the step's task in Kubeflow."""
    return step.name.replace("_", "-")


def write(cluster: Cluster, output: Path) -> None:
    """Compiles into a file."""
    check_file(output)
    atomic_write(output, compiled(cluster))
