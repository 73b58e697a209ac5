"""What Kubeflow's driver tells Argo of the pod of a task: with all that the task is given, in the length that it has in a run.

Read in Kubeflow Pipelines 2.17.0, backend/src/v2/driver: provisionOutputs, initPodSpecPatch and extendPodSpecPatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.argo.spec import Json, Pipeline, text

RUN = "7bcce91c-57e2-4a24-816e-68a5d55500a1"
STORE = f"minio://mlpipeline/v2/artifacts/{RUN}"
# What Kubeflow adds to the metadata of every artifact (RecordArtifact in backend/src/v2/metadata/client.go), and our own part.
SESSION = text(
    {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey", "disableSSL": "true", "endpoint": "seaweedfs.kubeflow:9000", "forcePathStyle": "true",
            "fromEnv": "false", "maxRetries": "5", "region": "minio", "secretKeyKey": "secretkey",
            "secretName": "mlpipeline-minio-artifact",
        },
    }
)  # fmt: skip
FACTS: dict[str, Json] = {
    "system.Dataset": {"count": 5000, "resolution": 28, "classes": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9", "content_hash": 64 * "a"},
    "system.Model": {
        "architecture": "dcgan", "images_seen": 130000, "seed": 0, "data": 64 * "a", "run_key": 64 * "b", "frechet": 12.345678,
    },
}  # fmt: skip
SERVERS = [
    "--ml_pipeline_server_address", "ml-pipeline.kubeflow", "--ml_pipeline_server_port", "8887",
    "--mlmd_server_address", "metadata-grpc-service.kubeflow", "--mlmd_server_port", "8080",
    "--publish_logs", "true", "--publish_logs", "true",
]  # fmt: skip


def artifact(task: str, output: str, kind: Json, number: int) -> Json:
    """An artifact that a task has made, as tasks that take it are told of it."""
    metadata = {**FACTS.get(kind["schemaTitle"], {}), "display_name": output, "store_session_info": SESSION}
    return {"name": "1234", "type": kind, "uri": _uri(task, output, number), "metadata": metadata}


def patch(
    pipeline: Pipeline, name: str, component: Json, parameters: Mapping[str, Any], artifacts: Mapping[str, list[Json]]
) -> Json:
    """The patch of the pod of a task, whose inputs are `parameters` and `artifacts`."""
    container, told = pipeline.container(component), pipeline.kubernetes(component)
    given = {"inputs": {"parameterValues": parameters, "artifacts": _listed(artifacts)}, "outputs": _outputs(name, component)}
    launcher = [
        "/kfp-launcher/launch", "--pipeline_name", pipeline.name, "--run_id", RUN, "--execution_id", "123",
        "--executor_input", text(given), "--component_spec", text(component),
        "--pod_name", "$(KFP_POD_NAME)", "--pod_uid", "$(KFP_POD_UID)", *SERVERS, "--",
    ]  # fmt: skip
    volumes, mounts = _volumes(told)
    main = {
        "name": "main",
        "image": container["image"],
        "command": launcher,
        "args": [*container.get("command", ()), *container.get("args", ())],
        "env": [*container.get("env", ()), *_environment(told)],
        "resources": _resources(container),
        **mounts,
    }
    placed: Json = {key: told[key] for key in ("activeDeadlineSeconds", "nodeSelector", "tolerations") if key in told}
    return {"containers": [main], **volumes, **placed}


def _outputs(name: str, component: Json) -> Json:
    declared = component.get("outputDefinitions", {})
    kinds = {key: one["artifactType"] for key, one in declared.get("artifacts", {}).items()}
    kinds["executor-logs"] = {"schemaTitle": "system.Artifact"}
    made = {key: [{"name": key, "type": kind, "uri": _uri(name, key, 0)}] for key, kind in kinds.items()}
    return {
        "parameters": {key: {"outputFile": f"/tmp/kfp/outputs/{key}"} for key in declared.get("parameters", {})},
        "artifacts": _listed(made),
        "outputFile": _uri(name, "output_metadata.json", 0).replace("minio://", "/minio/"),
    }


def _listed(artifacts: Mapping[str, list[Json]]) -> Json:
    return {name: {"artifacts": several} for name, several in artifacts.items()}


def _environment(told: Json) -> list[Json]:
    secrets = [
        {"name": key["envVar"], "valueFrom": {"secretKeyRef": {"name": "atelier", "key": key["secretKey"], "optional": True}}}
        for secret in told.get("secretAsEnv", ())
        for key in secret["keyToEnv"]
    ]
    fields = told.get("fieldPathAsEnv", ())
    return secrets + [{"name": one["name"], "valueFrom": {"fieldRef": {"fieldPath": one["fieldPath"]}}} for one in fields]


def _resources(container: Json) -> Json:
    if "resources" not in container:
        return {}
    return {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "2", "memory": "8Gi"}}


def _volumes(told: Json) -> tuple[Json, Json]:
    kinds: dict[str, Json] = {
        "emptyDirMounts": {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
        "secretAsVolume": {"name": "atelier", "secret": {"secretName": "atelier", "optional": True}},
        "pvcMount": {"name": "states", "persistentVolumeClaim": {"claimName": "states"}},
    }
    asked = [(kinds[kind], one["mountPath"]) for kind in kinds for one in told.get(kind, ())]
    mounts = [{"name": volume["name"], "mountPath": path} for volume, path in asked]
    return ({"volumes": [volume for volume, _ in asked]}, {"volumeMounts": mounts}) if asked else ({}, {})


def _uri(task: str, output: str, number: int) -> str:
    return f"{STORE}/{task}/{number:08x}-0f3c-4a24-816e-68a5d55500a1/{output}"
