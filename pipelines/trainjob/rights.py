"""Whether a task may train on several machines, asked before anything is computed: its rights, and the training runtime.

The rights are those that `pipelines.trainjob.job` uses, through Kubeflow's SDK too. The image that asks has no SDK.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.trainjob.job import ABSENT, ROLE, TrainJobError, explained

GROUP, VERSION, RUNTIME = "trainer.kubeflow.org", "v1alpha1", "torch-distributed"
NEEDED = (
    *((verb, GROUP, "trainjobs") for verb in ("create", "get", "delete")),
    ("get", GROUP, "trainingruntimes"),
    ("list", "", "pods"),
    ("get", "", "pods/log"),
)
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SECONDS = 10  # for each answer; the client ignores a float
PAGE = 'docs/production.md, "Rights for TrainJobs", has them as YAML'


def try_rights() -> None:
    """Asks the Kubernetes API for each right, and for the runtime. Raises TrainJobError with what is missing and the remedy."""
    from kubernetes import client

    namespace = _connected()
    access = client.AuthorizationV1Api()
    missing = []
    for verb, group, resource in NEEDED:
        name, _, part = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": part or None}
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(**attributes))
        )
        with explained(f"ask for the right to {verb} {resource}"):
            answer = access.create_self_subject_access_review(review, _request_timeout=SECONDS)
        missing += [] if answer.status.allowed else [f"{verb} {resource}"]
    if missing:
        raise TrainJobError(
            f"several nodes need a TrainJob, and in namespace {namespace} the task's service account may not "
            f"{', '.join(missing)}; bind it to a Role with {ROLE} ({PAGE}), or set train.nodes and finetune.nodes to 1"
        )
    _find_runtime(client.CustomObjectsApi(), namespace)


def _connected() -> str:
    """Prepares the client of the Kubernetes API, and returns the namespace that it asks about. Raises TrainJobError."""
    from kubernetes import config

    try:
        if (ACCOUNT / "namespace").exists():
            config.load_incluster_config()
            return (ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        config.load_kube_config()
        _, context = config.list_kube_config_contexts()
        return str(context["context"].get("namespace", "default"))
    except config.ConfigException as error:
        raise TrainJobError(
            f"several nodes need a Kubernetes cluster with Kubeflow Trainer, and there is none here ({error}); "
            "set train.nodes and finetune.nodes to 1"
        ) from error


def _find_runtime(api: Any, namespace: str) -> None:
    """Looks for the runtime of the namespace, then for the cluster's, as Kubeflow's SDK does. Raises TrainJobError."""
    from kubernetes.client import ApiException

    with explained(f"find training runtime {RUNTIME}"):
        try:
            api.get_namespaced_custom_object(GROUP, VERSION, namespace, "trainingruntimes", RUNTIME, _request_timeout=SECONDS)
        except ApiException as error:
            if error.status != ABSENT:
                raise
            api.get_cluster_custom_object(GROUP, VERSION, "clustertrainingruntimes", RUNTIME, _request_timeout=SECONDS)
