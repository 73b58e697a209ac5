"""The pipeline compiled, run on this machine, and submitted to a cluster."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import os
import sys
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any

import kfp
from kfp import compiler, local

from atelier.files import atomic_write
from atelier.registry.server import LOCAL_URI
from atelier.settings import Settings
from pipelines import dag, form, steps
from pipelines.dag import Cluster, PipelineError
from pipelines.transcript import Transcript

LOCAL_SOURCES = ("folder", "zip", "idx", "parquet")


def compiled(cluster: Cluster, params: Path = form.PARAMS) -> str:
    """The pipeline as YAML for Kubeflow Pipelines; equal inputs give equal text."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(dag.pipeline(cluster, params), str(file))
        # KFP's comments at the top repeat the form, and list the keys of a mapping in an order that changes from run to run.
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(itertools.dropwhile(lambda line: line.startswith("#"), lines))


def run_local(settings: Settings, output: Path, states: Path, cache: Path) -> Path:
    """Runs every step as a process in this environment and returns the folder of the run, a new one below `output`.

    kfp.local may call a pipeline a success whose steps were skipped, so what each step should have left is looked for.
    Raises PipelineError naming the step that failed or left nothing.
    """
    name = f"local-{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    root = output.resolve() / name
    # The steps are processes of their own: they learn of these through the environment, as they do on a cluster.
    os.environ |= {steps.PIPELINE_RUN: name, steps.STATES: str(states.resolve()), steps.CACHE: str(cache.resolve())}
    os.environ.setdefault(steps.TRACKING, LOCAL_URI)
    for about in ("You may be attem", "Task .* have no effect"):  # of what means something on a cluster only
        warnings.filterwarnings("ignore", message=about)
    transcript = Transcript(sys.stdout)
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(transcript):
        # kfp.local deletes its workspace after the run, so it gets one that nobody else uses.
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), workspace_root=f"{scratch}/workspace")
        try:
            dag.pipeline()(**form.filled(settings))
        except RuntimeError as error:
            raise PipelineError(
                f"step {transcript.task} failed: {transcript.reason} (see above; what was made until then is in {root})"
            ) from error
    for step in steps.STEPS.values():
        for artifact in outputs(step):
            found = list(root.glob(f"*/{task_name(step)}/{artifact}"))
            if not found or not found[0].stat().st_size:
                raise PipelineError(f"step {step.name} left no {artifact} in {root}; its messages are above")
    return root


def outputs(step: steps.Step) -> list[str]:
    """Names of the files and folders that a step writes. (Metrics are not written but handed over.)"""
    return [name for name, kind in step.artifacts.items() if kind.startswith("Output[") and kind != "Output[Metrics]"]


def task_name(step: steps.Step) -> str:
    """Name of the step's task in Kubeflow."""
    return step.name.replace("_", "-")


def submit(settings: Settings, cluster: Cluster, host: str, namespace: str, run_name: str | None) -> str:
    """Starts a run on a cluster with the values of `settings` and returns its address. Raises PipelineError."""
    refuse_what_a_cluster_cannot_see(settings, cluster)
    warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it reports each of its retries

    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "pipeline.yaml"
        package.write_text(compiled(cluster), encoding="utf-8")
        try:
            client = kfp.Client(host=host, namespace=namespace)
            run = client.create_run_from_pipeline_package(
                str(package),
                arguments=form.filled(settings),
                run_name=run_name,
                experiment_name=settings.registry.experiment,
                namespace=namespace,
            )
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            raise PipelineError(f"{host}: the run was not started ({reason}); check --host and your login") from error
    return f"{host.rstrip('/')}/#/runs/details/{run.run_id}"


def refuse_what_a_cluster_cannot_see(settings: Settings, cluster: Cluster) -> None:
    """Raises PipelineError for the placeholder image and for settings that name files of this machine."""
    if cluster.image == dag.IMAGE:
        raise PipelineError(
            "--image: needed, since none is published: an image with this project, pushed to a registry that the cluster "
            "reads, as NAME@sha256:...; README.md says under Kubeflow what it holds. `run-local` needs none"
        )
    here: dict[str, Any] = {}
    for section in ("data", "target"):
        chosen = getattr(settings, section)
        if chosen.source in LOCAL_SOURCES:
            here[f"{section}.path"] = (chosen.path, f"put the images in a bucket and set {section}.source: s3")
    if settings.finetune.init_from != "base" and not settings.finetune.init_from.startswith("models:/"):
        here["finetune.init_from"] = (settings.finetune.init_from, "register it and write models:/NAME@alias")
    if settings.evaluate.weights not in ("packaged", "published"):
        here["evaluate.weights"] = (settings.evaluate.weights, "use packaged or published")
    if here:
        key, (value, remedy) = next(iter(here.items()))
        raise PipelineError(f"{key} {value!r} is on this machine, where no node of the cluster can read it; {remedy}")


def write(cluster: Cluster, output: Path) -> None:
    """Compiles into a file."""
    atomic_write(output, compiled(cluster))
