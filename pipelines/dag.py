"""The pipeline of Kubeflow Pipelines (v2): the stages of dvc.yaml over the same component functions.

A component of KFP is the source of one function with every parameter in its signature, and KFP fills a mapping from
pipeline parameters by pasting text, which loses types and breaks on a quote. So each task takes its settings as single
typed parameters, and the functions that KFP ships are written here from params.yaml: a signature and one call of
`pipelines.steps`. A task's inputs hold exactly the settings that its step reads.

What is taken from earlier runs. Kubeflow's cache compares a task's image, parameters and the ids of its input artifacts; it
knows neither what is behind a path or an alias nor which MLflow the environment names. So by default every task runs. With
`Cluster.reuse` the user vouches that a source of images which keeps its name keeps its content; then the tasks whose step
is `reusable` may be skipped. Never skipped are the check, which looks at the environment, fine-tuning, which may begin from an
alias of the registry, and registering, whose work is in MLflow. An artifact's id is that of the task run that wrote it,
not of its content: a task that follows one which ran is not skipped either.
"""

from __future__ import annotations

import inspect
import linecache
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp import dsl, kubernetes
from kfp.dsl import base_component

from atelier.errors import AtelierError
from pipelines import form, steps

NAME = "atelier"
# No image of this project has been pushed yet, so there is no digest to pin: the zeros say so, and `submit` refuses them.
IMAGE = "atelier/train@sha256:" + 64 * "0"
PINNED = re.compile(r"^[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$")
VOLUME = "/atelier"
RETRIES = 3
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL_S3",
    "AWS_DEFAULT_REGION",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)


class PipelineError(AtelierError):
    """The pipeline cannot be built, run or submitted as asked."""


@dataclass(frozen=True)
class Cluster:
    """What differs between clusters.

    `image` holds this project and kfp, and is pinned by its digest. `gpu` is the resource name of an accelerator
    (nvidia.com/gpu): each step that computes with networks gets one. `claim` names a PersistentVolumeClaim for training
    states and reference statistics: with it a task that lost its node is started again and goes on where it was.
    `tracking` is MLflow's URI, for clusters on which KFP does not inject it. `secret` names a Secret: what it has of
    SECRETS becomes the environment of every task. `reuse` lets Kubeflow skip what an earlier run has made (see above).
    """

    image: str = IMAGE
    gpu: str | None = None
    claim: str | None = None
    tracking: str | None = None
    secret: str | None = None
    reuse: bool = False

    def __post_init__(self) -> None:
        if not PINNED.match(self.image):
            raise PipelineError(
                f"--image {self.image}: not pinned by a digest. KFP's cache compares the name of an image, not what is in "
                "it, so under a tag that moves it would hand out results of older code; write NAME@sha256:<64 hex digits>, "
                "which docker push prints"
            )
        if self.tracking and "@" in self.tracking:
            raise PipelineError(
                "--tracking-uri: holds a login, which would stand in the compiled pipeline for all to read; leave it out "
                "and put MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD into a Secret for --secret"
            )


def pipeline(cluster: Cluster | None = None, params: Path = form.PARAMS) -> base_component.BaseComponent:
    """The pipeline, with one typed parameter for each value of `params` and that value as its default."""
    cluster = cluster or Cluster()
    leaves = form.leaves(params)

    def build(*values: Any) -> None:
        _graph(leaves, dict(zip(leaves, values, strict=True)), cluster)

    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(leaf.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=leaf.default, annotation=leaf.type)
            for leaf in leaves.values()
        ]
    )
    build.__doc__ = "\n".join(
        ["From images to a registered, fine-tuned generator.", "", "Args:"]
        + [f"    {leaf.name}: {leaf.description}" for leaf in leaves.values()]
    )
    result = dsl.pipeline(name=NAME, display_name="Atelier")(build)
    _add_choices(result, leaves)
    return result


def _add_choices(pipeline: base_component.BaseComponent, leaves: dict[str, form.Leaf]) -> None:
    """Makes the UI offer the allowed values as a list. KFP's SDK has no way to say so; the format and the UI have."""
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    for leaf in leaves.values():
        for choice in leaf.choices:
            text = isinstance(choice, str)
            parameters[leaf.name].literals.append(Value(string_value=choice) if text else Value(number_value=choice))


def _graph(leaves: dict[str, form.Leaf], parameters: dict[str, Any], cluster: Cluster) -> None:
    """The tasks and their edges. `parameters` maps the keys of params.yaml to the pipeline's parameters."""

    def task(name: str, **artifacts: Any) -> Any:
        step = steps.STEPS[name]
        settings = {form.parameter(key): parameters[key] for key in step.keys}
        placed = _placed(component(step, leaves, cluster.image)(**settings, **artifacts), step, cluster)
        return placed.set_display_name(step.title).set_caching_options(cluster.reuse and step.reusable)

    # dvc.yaml needs no such task: its commands validate the whole of params.yaml before they start.
    check = task("check")
    base = task("prepare_base").after(check)
    trained = task("train", images=base.outputs["images"])
    first = task("evaluate_base", images=base.outputs["images"], checkpoint=trained.outputs["checkpoint"])
    target = task("prepare_target").after(check)
    tuned = task("finetune", images=target.outputs["images"], base=trained.outputs["checkpoint"])
    second = task(
        "evaluate_finetuned",
        images=target.outputs["images"],
        checkpoint=tuned.outputs["checkpoint"],
        baseline=trained.outputs["checkpoint"],
    )
    task(
        "register",
        base=trained.outputs["checkpoint"],
        base_evaluation=first.outputs["evaluation"],
        finetuned=tuned.outputs["checkpoint"],
        finetuned_evaluation=second.outputs["evaluation"],
    )


def component(step: steps.Step, leaves: dict[str, form.Leaf], image: str) -> base_component.BaseComponent:
    """The KFP component of a step: a function whose source is a typed signature and a call of `steps.execute`."""
    signature = [f"{form.parameter(key)}: {leaves[key].type.__name__}" for key in step.keys]
    signature += [f"{name}: {kind}" for name, kind in step.artifacts.items()]
    source = (
        f"def {step.name}(\n"
        + "".join(f"    {parameter},\n" for parameter in signature)
        + f'):\n    """{step.title}."""\n'
        + "    given = dict(locals())\n"
        + "    from pipelines import steps\n\n"
        + f'    steps.execute("{step.name}", given)\n'
    )
    filename = f"<component {step.name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {**vars(dsl)}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)  # noqa: S102 - our own text, shipped as it is by KFP
    return dsl.component(base_image=image, install_kfp_package=False)(namespace[step.name])


def _placed(task: dsl.PipelineTask, step: steps.Step, cluster: Cluster) -> dsl.PipelineTask:
    """Environment, accelerator and volume of a task."""
    kubernetes.use_field_path_as_env(task, steps.PIPELINE_RUN, "metadata.labels['pipeline/runid']")
    if cluster.image != IMAGE:  # which is no image; kfp.local, which runs in none, would hand it to the registry all the same
        task.set_env_variable(steps.IMAGE, cluster.image)
    if cluster.tracking:
        task.set_env_variable(steps.TRACKING, cluster.tracking)
    if cluster.secret:
        for name in SECRETS:
            kubernetes.use_secret_as_env(task, cluster.secret, {name: name}, optional=True)
    if cluster.gpu and step.computes:
        task.set_accelerator_type(cluster.gpu).set_accelerator_limit(1)
    if cluster.claim and step.computes:
        kubernetes.mount_pvc(task, pvc_name=cluster.claim, mount_path=VOLUME)
        task.set_env_variable(steps.STATES, f"{VOLUME}/states").set_env_variable(steps.CACHE, f"{VOLUME}/cache")
        task.set_retry(RETRIES)
    return task
