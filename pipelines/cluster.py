"""What differs between clusters, and where the tasks of a pipeline are placed on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import pipeline_channel

from atelier.errors import AtelierError
from components.contract import Component, Direction
from pipelines import environment
from pipelines.environment import SECRET, SHARED_MEMORY

# No image of this project has been pushed yet, so there is no digest to pin: the zeros say so, and `submit` refuses them.
IMAGE = "atelier/train@sha256:" + 64 * "0"
DATA_IMAGE = "atelier/data@sha256:" + 64 * "0"
PINNED = re.compile(r"^(?:[a-z0-9][a-zA-Z0-9._:/-]*@)?sha256:[0-9a-f]{64}$")
VOLUME = "/atelier"
FIRST_WAIT, WAIT_FACTOR = "30s", 2.0
# Argo takes this for the end of all attempts, counted from the first one's start: with Kubeflow's default of an hour, a training
# that loses its node later than that is not started again, and one that was is killed when the hour is over.
RETRY_WINDOW = "31536000s"
MOST_HOURS = 720
RESOURCES = ("accelerator", "accelerators", "cpu", "memory")  # keys of cluster.yaml
TOLERATION = {"tolerationSeconds": "toleration_seconds"}


class PipelineError(AtelierError):
    """The pipeline cannot be built, run or submitted as asked."""


@dataclass(frozen=True)
class Cluster:
    """What a compiled pipeline fixes; what may differ from run to run is in cluster.yaml.

    `image` trains and measures, `data_image` fetches and packs; both hold this project and are pinned by a digest. `claim` names
    a PersistentVolumeClaim for training states and reference statistics, an alternative to cluster.states. `tracking` is MLflow's
    URI, for clusters on which KFP does not inject it. `reuse` lets Kubeflow skip what an earlier run has made. `imports` maps
    a set ("data.base") to the address of its images in DVC's remote. `partitions` is the number of tasks that pack a set.
    `trials` are settings of model and train to try out, each a mapping of keys to values; of several the best is taken, and
    `parallel` of them run at the same time.
    `hours` is how long a pod may take that computes with networks or handles images, all others an hour. `retries`: tasks that
    fail are started again; those that keep states are so inside their pod, too.
    """

    image: str = IMAGE
    data_image: str = DATA_IMAGE
    claim: str | None = None
    tracking: str | None = None
    reuse: bool = False
    imports: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 1
    trials: tuple[Mapping[str, Any], ...] = ()
    parallel: int = 2
    hours: int = 72
    retries: bool = True

    def __post_init__(self) -> None:
        for option, image in (("--image", self.image), ("--data-image", self.data_image)):
            if not PINNED.match(image):
                raise PipelineError(
                    f"{option} {image}: not pinned by a digest. KFP's cache compares the name of an image, not what is in "
                    "it, so under a tag that moves it would hand out results of older code; write NAME@sha256:<64 hex digits>, "
                    "which docker push prints"
                )
        if self.tracking and "@" in self.tracking:
            raise PipelineError(
                "--tracking-uri: holds a login, which would stand in the compiled pipeline for all to read; leave it out "
                "and put MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD into the Secret that cluster.secret names"
            )
        if self.partitions < 1:
            raise PipelineError(f"--partitions {self.partitions}: write 1 or more")
        if self.parallel < 1:
            raise PipelineError(f"--parallel {self.parallel}: write 1 or more")
        if not 1 <= self.hours <= MOST_HOURS:
            raise PipelineError(f"--hours {self.hours}: write 1 to {MOST_HOURS}")

    @property
    def has_images(self) -> bool:
        """Whether real images are named, so that the pipeline can run on a cluster."""
        return IMAGE not in (self.image, self.data_image) and self.data_image != DATA_IMAGE

    def image_of(self, component: Component[..., Any]) -> str:
        """The image that a component runs in."""
        return self.data_image if component.light else self.image

    def place(self, task: dsl.PipelineTask, component: Component[..., Any], parameters: Mapping[str, Any]) -> None:
        """Gives a task its environment, retries and resources. `parameters` are by key the form's fields, or values."""
        kubernetes.use_field_path_as_env(task, environment.PIPELINE_RUN, "metadata.labels['pipeline/runid']")
        if self.has_images:  # kfp.local, which needs none, would hand the placeholder to the registry
            task.set_env_variable(environment.IMAGE, self.image_of(component))
        if self.tracking:
            task.set_env_variable(environment.TRACKING, self.tracking)
        secret = parameters["cluster.secret"]
        if isinstance(secret, str) and (secret == self.claim or "." in secret):
            raise PipelineError(
                f"cluster.secret {secret}: Kubeflow gives the volume of a Secret its name, which holds no dots and is no other "
                "volume's; rename the Secret, or the claim that --state-claim names"
            )
        kubernetes.use_secret_as_volume(task, secret, str(SECRET), optional=True)
        if component.retries and self.retries:
            task.set_retry(component.retries, FIRST_WAIT, WAIT_FACTOR, RETRY_WINDOW)
        makes = {one.artifact.type for one in component.artifacts(Direction.OUT).values() if one.artifact}
        kubernetes.set_timeout(task, 3600 * (self.hours if component.computes or "Dataset" in makes else 1))
        if component.computes:
            self._place_computing(task, parameters)
        if component.computes and "states" in component.arguments:
            kubernetes.use_field_path_as_env(task, environment.SERVICE_ACCOUNT, "spec.serviceAccountName")
            if self.retries:
                task.set_env_variable(environment.RETRIES, str(component.retries))

    def _place_computing(self, task: dsl.PipelineTask, parameters: Mapping[str, Any]) -> None:
        accelerator, accelerators, cpu, memory = (parameters[f"cluster.{key}"] for key in RESOURCES)
        task.set_cpu_request(cpu).set_memory_request(memory)
        if accelerators != "0":
            task.set_accelerator_type(accelerator).set_accelerator_limit(accelerators)
        # KFP hands a group of tasks what they are known to take, and does not count these.
        asked = [one for one in (accelerator, accelerators, cpu, memory) if isinstance(one, pipeline_channel.PipelineChannel)]
        task.register_pipeline_channels(asked)
        kubernetes.add_node_selector_json(task, parameters["cluster.node_selector"])
        tolerations = parameters["cluster.tolerations"]
        if isinstance(tolerations, list):  # of constants KFP drops what it does not spell as Kubernetes does
            tolerations = [{TOLERATION.get(key, key): value for key, value in one.items()} for one in tolerations]
        kubernetes.add_toleration_json(task, tolerations)
        kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", medium="Memory", size_limit=SHARED_MEMORY)
        if self.claim:
            kubernetes.mount_pvc(task, pvc_name=self.claim, mount_path=VOLUME)
            task.set_env_variable(environment.STATES, f"{VOLUME}/states").set_env_variable(environment.CACHE, f"{VOLUME}/cache")
