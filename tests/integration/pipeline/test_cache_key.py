"""What Kubeflow's cache compares, by its source: where a task is placed is a part only where a run can choose it.

getFingerPrint in backend/src/v2/driver/cache.go and GenerateCacheKey in backend/src/v2/cacheutils/cache.go of 2.17.0 take the
image, command and arguments, every parameter and artifact of the task's inputs, its outputs and the names of its volume claims. A
driver fills in cores, memory and accelerators from those inputs alone (resolvePodSpecInputRuntimeParameter in
backend/src/v2/driver/resolve.go).
"""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import dag
from tests.support.compiled_yaml import Read, compiled
from tests.support.pinned_images import ADDRESSES, DATA, PINNED

PLACED = (
    "cluster.accelerator=amd.com/gpu", "cluster.accelerators='4'", "cluster.cpu='16'", "cluster.memory=64Gi",
    "cluster.node_selector={disk: ssd}", "cluster.tolerations=[{key: spot, operator: Exists}]", "cluster.secret=other",
)  # fmt: skip
FORM = "cluster.form=[train.seed, train.images]"


def key(task: Read) -> dict[str, Any]:
    """What of a compiled task is in the key; artifacts by where they come from."""
    container, outputs = task.container, task.component.get("outputDefinitions", {})
    claims = [claim["constant"] for claim in task.platform.get("pvcMount", [])]
    return {
        "image": container["image"],
        "command": [*container["command"], *container["args"]],
        "parameters": task.entry["inputs"]["parameters"],
        "artifacts": task.artifacts,
        "outputs": outputs,
        "claims": claims,
    }


def keys(cluster: dag.Cluster, *overrides: str) -> dict[str, dict[str, Any]]:
    return {name: key(task) for name, task in compiled(cluster, overrides=overrides).items() if task.cached}


def test_placement_that_the_form_does_not_ask_for_is_not_compared() -> None:
    cluster = dag.Cluster(PINNED, DATA, imports=ADDRESSES)
    here = keys(cluster, FORM)
    assert {*here} == {
        "fetch_base", "fetch_target", "prepare_base", "prepare_target", "train", "evaluate_base", "evaluate_finetuned",
    }  # fmt: skip
    assert keys(cluster, FORM, *PLACED) == here
    elsewhere = dag.Cluster(PINNED, DATA, imports=ADDRESSES, hours=5, tracking="http://mlflow", retries=False, parallel=5)
    assert keys(elsewhere, FORM) == here


@pytest.mark.parametrize(
    "other", [dag.Cluster(f"{PINNED[:-1]}0", DATA, reuse=True), dag.Cluster(PINNED, DATA, claim="c", reuse=True)]
)
def test_what_computes_is_compared(other: dag.Cluster) -> None:
    here, there = keys(dag.Cluster(PINNED, DATA, reuse=True), FORM), keys(other, FORM)
    assert {name for name in here if here[name] != there[name]} == {"train", "evaluate_base", "evaluate_finetuned"}


def test_of_the_form_only_what_places_a_task_is_compared_with_what_it_reads() -> None:
    """Kubeflow knows no other way to place a task by a run's parameter; the project's form asks for two."""
    for name, found in keys(dag.Cluster(PINNED, DATA, reuse=True)).items():
        placement = {"cluster_accelerators", "cluster_memory"} if name.startswith(("train", "evaluate")) else set()
        assert {*found["parameters"]} == {"settings", *placement}, name
    told_to_kubernetes = "cluster.form=[cluster.tolerations, cluster.secret, cluster.node_selector]"
    for name, found in keys(dag.Cluster(PINNED, DATA, reuse=True), told_to_kubernetes).items():
        assert {*found["parameters"]} == {"settings"}, name
