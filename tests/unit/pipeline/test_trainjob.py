"""The TrainJob that is submitted and how it is followed. Not a cluster: the Kubernetes API is `fake_kubernetes`."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from atelier.config.cluster import ClusterSettings
from pipelines.project import load
from pipelines.trainjob import launch
from tests.support.fake_kubernetes import objections
from tests.support.small import KUBERNETES, PARAMS
from tests.support.trainjob_tasks import IMAGE, TWO_NODES


def cluster(*overrides: str) -> ClusterSettings:
    return load(PARAMS, [*TWO_NODES, "cluster.states=s3://bucket/states", *overrides]).cluster


@pytest.mark.parametrize("spoil", ["podSpecOverrides", "env of the node", "PET_NNODES"])
def test_the_api_models_and_the_webhook_would_notice(spoil: str) -> None:
    job = launch.manifest("atelier-train-0", 2, cluster(), IMAGE, "s3://b/jobs/n", 60)
    job["spec"]["runtimeRef"] = {"name": "torch-distributed", "kind": "ClusterTrainingRuntime"}
    assert objections(job) == ""
    patch = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    if spoil == "podSpecOverrides":
        job["spec"][spoil] = [{"targetJobs": [{"name": "node"}]}]
    elif spoil == "PET_NNODES":
        job["spec"]["trainer"]["env"].append({"name": spoil, "value": "2"})
    else:
        patch["template"]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
    assert objections(job) != ""


def pod_of_a_node(job: dict[str, Any]) -> dict[str, Any]:
    """The pod that Trainer makes of a job: the patch of the runtime's one, with the trainer's container in it."""
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    template, trainer = node["template"]["spec"]["template"], job["spec"]["trainer"]
    (container,) = template["spec"]["containers"]
    container |= {key: trainer[key] for key in ("image", "command", "env")} | {"resources": trainer["resourcesPerNode"]}
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "node-0"}}


@pytest.mark.parametrize("accelerators", ["0", "4"])
def test_kubernetes_takes_the_pods_of_the_nodes(accelerators: str) -> None:
    placed = cluster(f"cluster.accelerators='{accelerators}'")
    pod = pod_of_a_node(launch.manifest("atelier-train-0", 2, placed, IMAGE, "s3://b/jobs/n", 60))
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    pod["spec"]["containers"][0]["volumeMounts"][0]["mountPaths"] = "/x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("account", ["", "pipeline-runner"])
def test_nodes_run_as_the_tasks_service_account(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_SERVICE_ACCOUNT", account)
    job = launch.manifest("atelier-train-0", 2, cluster(), IMAGE, "s3://b/jobs/n", 60)
    job["spec"]["runtimeRef"] = {"name": "torch-distributed", "kind": "ClusterTrainingRuntime"}
    assert objections(job) == "" and "ATELIER_SERVICE_ACCOUNT" not in str(job["spec"]["trainer"]["env"])
    pod = pod_of_a_node(job)
    assert pod["spec"].get("serviceAccountName", "") == account
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
