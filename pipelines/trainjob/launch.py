"""Training on several machines: the task submits a TrainJob of Kubeflow Trainer (v2) and waits for its checkpoint.

The TrainJob runs the task's own image on train.nodes nodes (see pipelines.trainjob.node), placed as section `cluster` says. It is
deleted when it ends, when the task is told to stop and when it takes too long. Its name follows from the pipeline's run and from
what is trained: a task that was killed and is tried again finds the job that it had started and goes on waiting for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atelier.config.cluster import ClusterSettings
from atelier.config.section import Section
from atelier.config.settings import fingerprint
from atelier.config.training import BASE as FROM_BASE
from atelier.io.files import atomic_folder, check_output
from atelier.io.storage import StorageError
from atelier.models.model import INFO, GeneratorInfo, read_info
from atelier.tracking.provenance import pipeline_key
from pipelines import environment
from pipelines.environment import IMAGE, LOGIN, SECRETS, SERVICE_ACCOUNT, SHARED_MEMORY, TRACKING
from pipelines.trainjob import node
from pipelines.trainjob.files import ALIVE, BASE, CHECKPOINT, DATA, FAILED, JOB, Index, JobFiles, index
from pipelines.trainjob.job import POLL_SECONDS, TrainJob, TrainJobError, TrainJobLost

PASSED_ON = re.compile(
    r"ATELIER_(?!STATES$|CACHE$|SERVICE_ACCOUNT$)\w+|MLFLOW_(TRACKING_(URI|AUTH)|RUN_ID|EXPERIMENT_ID|EXPERIMENT_NAME|WORKSPACE)"
)
WITH_LOGIN = re.compile(r"://[^/]*@")
WORK = "/atelier"
MANAGER = "trainer.kubeflow.org/atelier"
GRACE_SECONDS = 60  # for a node that is told to stop: its ranks save
LONGEST_SECONDS = 7 * 24 * 3600


def run(
    step: str,
    settings: dict[str, Any],
    cluster: ClusterSettings,
    data: list[Path],
    output: Path,
    *,
    base: Path | None = None,
    timeout: float = LONGEST_SECONDS,
) -> GeneratorInfo:
    """Trains (`step` "train" or "finetune") on the packed images in `data`, a folder a set, and writes the folder `output`.

    `settings` are the component's parameters of params.yaml. `base` is the checkpoint that finetune.init_from "base" means.
    `timeout` in seconds. Raises TrainJobError, TrainJobLost, StorageError.
    """
    check_output(output, INFO)
    nodes = settings["settings"].nodes
    if cluster.states == "none":
        raise TrainJobError(
            f"{step}.nodes is {nodes}, and nodes exchange their work through S3; set cluster.states to an s3:// prefix, or "
            f"{step}.nodes to 1"
        )
    image = os.environ.get(IMAGE)
    if not image:
        raise TrainJobError(f"{IMAGE} is not set, so it is not known what the nodes should run; submit with --image")
    from_base = step == "finetune" and settings["settings"].init_from == FROM_BASE
    sets = {f"{DATA}_{place}": folder for place, folder in enumerate(data)}
    folders = {**sets, **({BASE: base} if from_base and base else {})}
    indexes = {folder: index(path) for folder, path in folders.items()}
    job = describe(step, settings, cluster, indexes, [*sets])
    name = f"atelier-{step}-{fingerprint([job, image, pipeline_key()])[:20]}"
    files = JobFiles(f"{cluster.states.rstrip('/')}/jobs/{name}")
    with node.sigterm_exits():
        if files.note(CHECKPOINT) is None:
            for folder, path in folders.items():
                files.upload(path, folder, indexes[folder], again=True)
            files.write(JOB, job)
            _train(name, manifest(name, nodes, cluster, image, files.uri, timeout), files, timeout)
        brought = files.note(CHECKPOINT)
        if brought is None:
            raise TrainJobLost(f"TrainJob {name} completed, but there is no checkpoint in {files.uri}; run the task again")
        with atomic_folder(output, INFO) as aside:
            files.download(CHECKPOINT, brought, aside)
    info = read_info(output)
    files.clear()
    return info


def describe(
    step: str, settings: dict[str, Any], cluster: ClusterSettings, indexes: dict[str, Index], sets: list[str]
) -> dict[str, Any]:
    """The note from which a node knows what to train. `settings` as in `run`, `indexes` of the folders that it needs.

    `sets` are those folders that hold packed images, in the order of the task's sets.
    """
    plain = {name: one.model_dump(mode="json") if isinstance(one, Section) else one for name, one in settings.items()}
    return {"step": step, "settings": plain, "mirror": cluster.states, "sets": sets, **indexes}


def manifest(name: str, nodes: int, cluster: ClusterSettings, image: str, uri: str, timeout: float) -> dict[str, Any]:
    """The TrainJob but for its runtime. Secrets are in it by name only.

    The environment is the trainer's: a runtime patch may not set that of the node's container. Failures are the runtime's matter
    (torch-distributed: a failed container is started again, 6 times): neither a TrainJob nor a patch of it may set it.
    """
    accelerators = int(cluster.accelerators)
    devices = {cluster.accelerator: cluster.accelerators} if accelerators else {}
    pod: dict[str, Any] = {
        "nodeSelector": cluster.node_selector,
        "tolerations": cluster.tolerations,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
        ],
        "containers": [
            {
                "name": "node",
                "volumeMounts": [{"name": "work", "mountPath": WORK}, {"name": "dshm", "mountPath": "/dev/shm"}],
            }
        ],
    }
    if account := os.environ.get(SERVICE_ACCOUNT):  # whose pull secrets and rights of the cloud are the task's
        pod["serviceAccountName"] = account
    # Istio's proxy would never end, and with it the job; Kubeflow Pipelines leaves it out of its own pods too.
    template = {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}, "spec": pod}
    patch = {"template": {"spec": {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": template}}}]}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {
            "activeDeadlineSeconds": int(timeout),  # also where the task itself is killed and never tried again
            "trainer": {
                "image": image,
                "command": ["python", "-m", node.__name__, uri, "--work", WORK],
                "env": _environment(cluster.secret),
                "numNodes": nodes,
                "numProcPerNode": max(1, accelerators),  # Trainer's own default is one for each core
                "resourcesPerNode": {"requests": {"cpu": cluster.cpu, "memory": cluster.memory, **devices}, "limits": devices},
            },
            "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": patch}],
        },
    }


def _environment(secret: str) -> list[dict[str, Any]]:
    """What of the task's environment the nodes get as it is, and what they get from the Secret."""
    plain = {key: value for key, value in os.environ.items() if PASSED_ON.fullmatch(key)}
    if WITH_LOGIN.search(plain.get(TRACKING, "")):
        raise TrainJobError(
            f"{TRACKING} holds a login, which would stand in the TrainJob for all to read; put MLFLOW_TRACKING_USERNAME "
            f"and MLFLOW_TRACKING_PASSWORD into Secret {secret}"
        )
    plain |= {"TMPDIR": WORK, "PYTHONUNBUFFERED": "1"}
    secrets = {key: {"name": secret, "key": key, "optional": True} for key in SECRETS if key not in LOGIN}
    secrets |= environment.login_of_nodes(secret)
    return [{"name": key, "value": value} for key, value in sorted(plain.items())] + [
        {"name": key, "valueFrom": {"secretKeyRef": reference}} for key, reference in secrets.items()
    ]


def _train(name: str, wanted: dict[str, Any], files: JobFiles, timeout: float) -> None:
    """Submits the job, or joins the one that an earlier attempt left; follows it to its end and deletes it."""
    deadline = time.monotonic() + timeout
    job = TrainJob(name)
    try:
        if job.runs():
            print(f"TrainJob {name} of an earlier attempt goes on; waiting for it", flush=True)
        else:
            files.forget(FAILED)
            job.create(wanted)
            print(f"TrainJob {name} was submitted", flush=True)
        with job.log():
            told = -math.inf
            while not job.ended():
                if time.monotonic() > deadline:
                    raise TrainJobError(
                        f"TrainJob {name} has not ended in {timeout / 3600:.1f} hours and was deleted; allow more time, or run "
                        "the task again to go on from the last save"
                    )
                with _while_s3_is_away():
                    if time.monotonic() - told > node.LOOK_SECONDS:
                        files.write(ALIVE, {"time": time.time()})
                        told = time.monotonic()
                    if failed := files.note(FAILED):
                        raise TrainJobError(f"the training failed: {failed['message']}")
                time.sleep(POLL_SECONDS)
    finally:
        if job.there:
            job.delete()


@contextlib.contextmanager
def _while_s3_is_away() -> Iterator[None]:
    """The nodes train on while S3 is away, so that the task waits on too."""
    try:
        yield
    except StorageError as error:
        print(f"no word with the nodes: {error}", file=sys.stderr)
