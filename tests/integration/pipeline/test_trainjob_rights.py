"""The first task of a run asks for what several nodes need: rights to TrainJobs and a runtime, by the API's own answers."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines import steps
from pipelines.project import load
from pipelines.trainjob import rights
from pipelines.trainjob.job import TrainJobError
from tests.support.fake_kubernetes import NAMESPACE, Kubernetes
from tests.support.small import PARAMS, ROOT
from tests.support.trainjob_tasks import cluster

__all__ = ["cluster"]

JOBS = "trainer.kubeflow.org/trainjobs"


def role(kind: str) -> set[str]:
    """What the documentation's Role, or ClusterRole, grants."""
    page = (ROOT / "docs/production.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "RoleBinding" in one]
    (found,) = [one for one in YAML(typ="safe").load_all(block) if one["kind"] == kind]
    return {
        f"{verb} {group}/{resource}".replace(" /", " ")
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_it_asks_for_what_the_documentation_grants(cluster: Kubernetes) -> None:
    rights.try_rights()
    assert {*cluster.asked} == role("Role") and len(cluster.asked) == len({*cluster.asked})
    assert role("ClusterRole") == {"get trainer.kubeflow.org/clustertrainingruntimes"}
    assert not cluster.submitted


@pytest.mark.parametrize(
    "denied",
    [[f"create {JOBS}"], [f"delete {JOBS}", "get pods/log"], ["list pods"], ["get trainer.kubeflow.org/trainingruntimes"]],
)
def test_what_is_not_allowed_is_named_with_the_role(denied: list[str], cluster: Kubernetes) -> None:
    cluster.denied = {*denied}
    words = ", ".join(one.replace("trainer.kubeflow.org/", "") for one in denied)
    with pytest.raises(
        TrainJobError, match=rf"in namespace {NAMESPACE} .* may not {words}; bind it to a Role with trainjobs: create"
    ):
        rights.try_rights()


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (
            "GET clustertrainingruntimes",
            404,
            r"cannot find training runtime torch-\w+: gone; install Kubeflow Trainer 2\.3",
        ),
        (
            "GET clustertrainingruntimes",
            403,
            r"cannot find training runtime torch-\w+: gone; bind the task's service account",
        ),
        ("POST selfsubjectaccessreviews", 500, "cannot ask for the right to create trainjobs: gone; mend what the cluster"),
    ],
)
def test_what_the_cluster_answers_is_told_with_the_remedy(kind: str, status: int, said: str, cluster: Kubernetes) -> None:
    cluster.refuse[kind] = (status, "gone")
    with pytest.raises(TrainJobError, match=said):
        rights.try_rights()


def test_a_cluster_that_does_not_answer_is_left_in_seconds(cluster: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "SECONDS", 1)
    began = time.monotonic()
    with cluster.lock, pytest.raises(TrainJobError, match="check the network"):
        rights.try_rights()
    assert time.monotonic() - began < 5


def test_without_a_cluster_one_node_is_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(TrainJobError, match=r"there is none here .*; set train\.nodes and finetune\.nodes to 1"):
        rights.try_rights()


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_check_asks_where_there_are_several_nodes(nodes: int, cluster: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "try_mlflow", lambda _: None)
    monkeypatch.setattr(steps, "_try_states", lambda _: None)
    steps.check(load(PARAMS, [f"finetune.nodes={nodes}", "cluster.states=s3://bucket/states"]))
    assert bool(cluster.asked) == (nodes > 1)


def test_names_are_those_of_the_sdk() -> None:
    from kubeflow.trainer.constants import constants

    assert (rights.GROUP, rights.VERSION, rights.RUNTIME) == (
        constants.GROUP,
        constants.VERSION,
        constants.DEFAULT_TRAINING_RUNTIME,
    )
