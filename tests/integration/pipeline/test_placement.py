"""Where Kubernetes is told to run the tasks, and what it makes of that: each task as the pod that Kubeflow's driver builds."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest

from atelier.config.section import SettingsError
from components.train import PREEMPTIONS
from pipelines import cluster, dag, form
from pipelines.project import load
from tests.support.compiled_yaml import Read, compiled
from tests.support.pinned_images import ADDRESSES
from tests.support.small import KUBERNETES, PARAMS

IMAGE = f"registry.example:5000/atelier@sha256:{'a' * 64}"
COMPUTING = {"train", "evaluate_base", "finetune", "evaluate_finetuned", "register_base", "register_finetuned"}
FORM = form.filled(load(PARAMS, ["cluster.accelerators='2'"]), load(PARAMS))
CLUSTER = dag.Cluster(IMAGE, IMAGE, claim="states", tracking="http://mlflow", hours=5)


@pytest.fixture(scope="module")
def tasks() -> dict[str, Read]:
    return compiled(CLUSTER)


def value(task: Read, source: dict[str, Any]) -> Any:
    """What Kubernetes is told by a constant or, in a run with the form's values, by a parameter of the task's group."""
    if "runtimeValue" in source:
        return source["runtimeValue"]["constant"]
    kind, name = task.scope[source["componentInputParameter"]]
    assert kind == "parameter"
    return FORM[name]


def amount(task: Read, text: str) -> Any:
    """A resource of a container: a text, or a placeholder for an input, which Kubeflow's driver fills if it is a string."""
    found = re.fullmatch(r"\{\{\$\.inputs\.parameters\[['\"](.+)['\"]\]\}\}", text)
    if not found:
        return text
    kind, name = task.parameters[found[1]]
    assert kind == "parameter" and isinstance(FORM[name], str)
    return FORM[name]


def tolerated(task: Read, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """What an entry adds to the tolerations of a pod."""
    if "tolerationJson" in entry:
        return list(value(task, entry["tolerationJson"]))
    seconds = {"tolerationSeconds": int(entry["tolerationSeconds"])} if "tolerationSeconds" in entry else {}
    return [{**entry, **seconds}]  # text in the YAML, as protobuf writes integers of 64 bits


def pod(task: Read) -> dict[str, Any]:
    """The pod of a task, by the rules of Kubeflow's driver (backend/src/v2/driver: driver.go, k8s.go)."""
    told, container = task.platform, task.container
    environment = [{"name": entry["name"], "value": entry["value"]} for entry in container.get("env", [])]
    environment += [
        {"name": entry["name"], "valueFrom": {"fieldRef": {"fieldPath": entry["fieldPath"]}}} for entry in told["fieldPathAsEnv"]
    ]
    resources: dict[str, Any] = {"limits": {}, "requests": {}}
    asked = container.get("resources", {})
    if "accelerator" in asked:
        kind, count = (amount(task, asked["accelerator"][name]) for name in ("resourceType", "resourceCount"))
        resources["limits"][kind] = count
    if asked:
        resources["requests"] = {
            "cpu": amount(task, asked["resourceCpuRequest"]),
            "memory": amount(task, asked["resourceMemoryRequest"]),
        }
    volumes: list[dict[str, Any]] = []
    mounts = []
    for secret in told["secretAsVolume"]:
        name = value(task, secret["secretNameParameter"])
        volumes.append({"name": name, "secret": {"secretName": name, "optional": secret["optional"]}})
        mounts.append({"name": name, "mountPath": secret["mountPath"]})
    for empty in told.get("emptyDirMounts", []):
        volumes.append({"name": empty["volumeName"], "emptyDir": {"medium": empty["medium"], "sizeLimit": empty["sizeLimit"]}})
        mounts.append({"name": empty["volumeName"], "mountPath": empty["mountPath"]})
    for claim in told.get("pvcMount", []):
        volumes.append({"name": claim["constant"], "persistentVolumeClaim": {"claimName": claim["constant"]}})
        mounts.append({"name": claim["constant"], "mountPath": claim["mountPath"]})
    spec: dict[str, Any] = {
        "activeDeadlineSeconds": int(told["activeDeadlineSeconds"]),
        "containers": [
            {
                "name": "main",
                "image": container["image"],
                "command": container["command"],
                "env": environment,
                "resources": resources,
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if "nodeSelector" in told:
        spec["nodeSelector"] = value(task, told["nodeSelector"]["nodeSelectorJson"])
        spec["tolerations"] = [one for entry in told["tolerations"] for one in tolerated(task, entry)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "task"}, "spec": spec}


@pytest.mark.parametrize(
    "other",
    [
        dag.Cluster(IMAGE, IMAGE),
        dag.Cluster(IMAGE, IMAGE, imports=ADDRESSES, partitions=2, trials=({"train.seed": 0},), claim="states", reuse=True),
    ],
)
def test_kubernetes_takes_every_pod_of_other_pipelines(other: dag.Cluster) -> None:
    for task in compiled(other).values():
        kubernetes_validate.validate(pod(task), KUBERNETES, strict=True)


def test_kubernetes_takes_every_pod(tasks: dict[str, Read]) -> None:
    for task in tasks.values():
        kubernetes_validate.validate(pod(task), KUBERNETES, strict=True)
    broken = pod(tasks["train"])
    broken["spec"]["tolerations"] = [{"operators": "Exists"}]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


def test_computing_tasks_get_what_the_form_and_the_project_say(tasks: dict[str, Read]) -> None:
    for name, task in tasks.items():
        spec = pod(task)["spec"]
        (main,) = spec["containers"]
        if name not in COMPUTING:
            assert "nodeSelector" not in spec and len(main["volumeMounts"]) == 1 and not main["resources"]["limits"], name
            continue
        assert main["resources"] == {"limits": {"nvidia.com/gpu": "2"}, "requests": {"cpu": "2", "memory": "8Gi"}}
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        places = {mount["mountPath"] for mount in main["volumeMounts"]}
        assert places == {"/dev/shm", "/atelier", "/run/secrets/atelier"}
        environment = {entry["name"]: entry.get("value") for entry in main["env"]}
        assert environment["ATELIER_STATES"] == "/atelier/states" and environment["MLFLOW_TRACKING_URI"] == "http://mlflow"


@pytest.mark.parametrize("count", ["0", "1"])
def test_what_the_form_does_not_ask_for_is_compiled_in(count: str) -> None:
    placed = [
        "cluster.form=[train.seed]", f"cluster.accelerators='{count}'", "cluster.memory=16Gi", "cluster.secret=ours",
        "cluster.node_selector={disk: ssd}", "cluster.tolerations=[{key: a, operator: Exists, tolerationSeconds: 300}]",
    ]  # fmt: skip
    for name, task in compiled(CLUSTER, overrides=placed).items():
        kubernetes_validate.validate(pod(task), KUBERNETES, strict=True)
        spec = pod(task)["spec"]
        (main,) = spec["containers"]
        assert [one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one] == ["ours"], name
        if name in COMPUTING:
            limits = {"nvidia.com/gpu": count} if count != "0" else {}
            assert main["resources"] == {"limits": limits, "requests": {"cpu": "2", "memory": "16Gi"}}, name
            (toleration,) = spec["tolerations"]
            assert spec["nodeSelector"] == {"disk": "ssd"} and toleration["tolerationSeconds"] == 300, name


@pytest.mark.parametrize(("claim", "secret"), [("atelier", "atelier"), (None, "of.team")])
def test_a_secret_whose_name_no_volume_can_have_is_refused(claim: str | None, secret: str) -> None:
    with pytest.raises(dag.PipelineError, match=rf"cluster\.secret {secret}: .* rename the Secret"):
        compiled(dag.Cluster(IMAGE, IMAGE, claim=claim), overrides=[f"cluster.secret={secret}"])


def test_a_claim_is_a_choice() -> None:
    assert not any(task.platform.get("pvcMount") for task in compiled(dag.Cluster(IMAGE, IMAGE)).values())


def test_tasks_end_in_time(tasks: dict[str, Read]) -> None:
    limits = {name: pod(task)["spec"]["activeDeadlineSeconds"] for name, task in tasks.items()}
    long = {*COMPUTING, *(name for name in limits if name.startswith("prepare"))}
    assert {name for name, limit in limits.items() if limit == 5 * 3600} == long
    assert {limit for name, limit in limits.items() if name not in long} == {3600}


def test_a_task_that_keeps_states_makes_its_attempts_itself(tasks: dict[str, Read]) -> None:
    for name, task in tasks.items():
        (main,) = pod(task)["spec"]["containers"]
        environment = {entry["name"]: entry for entry in main["env"]}
        keeps = name in ("train", "finetune")
        assert environment.get("ATELIER_RETRIES", {}).get("value") == (str(PREEMPTIONS) if keeps else None), name
        assert ("ATELIER_SERVICE_ACCOUNT" in environment) == keeps, name
    account = {entry["name"]: entry for entry in pod(tasks["train"])["spec"]["containers"][0]["env"]}["ATELIER_SERVICE_ACCOUNT"]
    assert account["valueFrom"]["fieldRef"]["fieldPath"] == "spec.serviceAccountName"


def test_here_no_attempt_is_made_twice() -> None:
    told = [str(task.container.get("env")) for task in compiled(dag.Cluster(IMAGE, IMAGE, retries=False)).values()]
    assert not any("ATELIER_RETRIES" in environment for environment in told)


def test_a_new_attempt_is_made_where_it_can_help(tasks: dict[str, Read]) -> None:
    attempts = {name: task.entry.get("retryPolicy", {}).get("maxRetryCount", 0) for name, task in tasks.items()}
    assert attempts.pop("check") == 1  # for a pod that is lost; wrong settings stay wrong
    assert attempts["train"] == attempts["finetune"] == PREEMPTIONS
    assert all(count >= 3 for count in attempts.values())
    for name in attempts:
        policy = tasks[name].entry["retryPolicy"]
        assert (policy["backoffDuration"], policy["backoffFactor"]) == ("30s", 2.0)
        # Argo counts this from the start of the first attempt, so it has to cover all the hours of all attempts.
        window = int(policy["backoffMaxDuration"].removesuffix("s"))
        assert window >= (attempts[name] + 1) * pod(tasks[name])["spec"]["activeDeadlineSeconds"], name


def test_the_window_of_attempts_covers_the_longest_time() -> None:
    with pytest.raises(dag.PipelineError, match="--hours"):
        dag.Cluster(hours=cluster.MOST_HOURS + 1)
    assert int(cluster.RETRY_WINDOW.removesuffix("s")) >= (PREEMPTIONS + 1) * cluster.MOST_HOURS * 3600


@pytest.mark.parametrize(
    "override",
    [
        "cluster.accelerators=[1]",  # no text: Kubeflow would hand the pod no amount
        "cluster.accelerators='-1'",
        "cluster.memory=8 Gi",
        "cluster.cpu=two",
        "cluster.node_selector={}",
        "cluster.tolerations=[]",
        "cluster.secret=My Secret",
        "cluster.states=bucket/states",
        "cluster.accelerator=gpu",
    ],
)
def test_what_kubernetes_would_refuse_is_refused_here(override: str) -> None:
    with pytest.raises(SettingsError, match=override.partition("=")[0].replace(".", r"\.")):
        load(PARAMS, [override])
