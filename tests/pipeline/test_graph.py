"""dvc.yaml and the pipeline of Kubeflow are one graph: the same steps, edges, settings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from atelier.settings import load
from pipelines import dag, form, runners, steps
from small import ROOT

Graph = dict[str, dict[str, Any]]
CHECK = "check"


def read(path: str) -> list[Any]:
    """All documents of a YAML file of the repository."""
    return list(YAML(typ="safe", pure=True).load_all((ROOT / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def stages() -> Graph:
    return read("dvc.yaml")[0]["stages"]


@pytest.fixture(scope="module")
def tasks() -> Graph:
    """Tasks of the committed YAML by the names that stages have."""
    return {name.replace("-", "_"): task for name, task in read("pipelines/pipeline.yaml")[0]["root"]["dag"]["tasks"].items()}


def test_the_committed_yaml_is_what_compiling_gives() -> None:
    committed = (ROOT / "pipelines" / "pipeline.yaml").read_text(encoding="utf-8")
    assert runners.compiled(dag.Cluster()) == committed, "run `make compile` and commit pipelines/pipeline.yaml"


def test_steps_are_equal(stages: Graph, tasks: Graph) -> None:
    # Commands validate the whole of params.yaml when they start. A task of Kubeflow sees only its own settings, so there
    # one task more does that for the run, before anything else.
    assert set(tasks) == {*stages, CHECK}
    assert {name for name, task in tasks.items() if CHECK in task.get("dependentTasks", [])} == {"prepare_base", "prepare_target"}


def test_edges_are_equal(stages: Graph, tasks: Graph) -> None:
    makers = {next(iter(out)): name for name, stage in stages.items() for out in stage["outs"]}
    by_dvc = {(makers[dep], name) for name, stage in stages.items() for dep in stage["deps"] if dep in makers}
    by_kubeflow = {
        (source["taskOutputArtifact"]["producerTask"].replace("-", "_"), name)
        for name, task in tasks.items()
        for source in task["inputs"].get("artifacts", {}).values()
    }
    assert by_dvc == by_kubeflow
    assert len(by_dvc) == 12


def test_every_step_reads_the_same_settings(stages: Graph, tasks: Graph) -> None:
    everything = [leaf.key for leaf in form.leaves().values()]
    for name, stage in stages.items():
        by_dvc = {key for key in everything for listed in stage["params"] if key == listed or key.startswith(f"{listed}.")}
        bound = {source["componentInputParameter"] for source in tasks[name]["inputs"]["parameters"].values()}
        assert {form.parameter(key) for key in by_dvc} == bound, name
        assert set(tasks[name]["inputs"]["parameters"]) == bound, name  # no constant, no other name


def test_settings_of_finetuning_are_no_inputs_of_training(tasks: Graph) -> None:
    """What Kubeflow's cache compares: editing finetune.* leaves every input of train as it was."""
    readers = {name for name, task in tasks.items() if any(p.startswith("finetune_") for p in task["inputs"]["parameters"])}
    assert readers == {"finetune", CHECK}
    assert all(task["cachingOptions"]["enableCache"] for task in tasks.values())


def test_stages_depend_on_their_code_and_their_inputs(stages: Graph) -> None:
    for name, stage in stages.items():
        component = re.search(r"-m components\.(\w+)", stage["cmd"])
        assert component and f"components/{component[1]}.py" in stage["deps"], name
        assert stage["desc"]
        for dep in stage["deps"]:
            made = any(dep in out for other in stages.values() for out in other["outs"])
            assert made or dep.startswith("${") or (ROOT / dep).exists(), f"{name}: {dep}"
    assert "${data.path}" in stages["prepare_base"]["deps"]
    assert "${target.path}" in stages["prepare_target"]["deps"]


def test_every_task_has_a_title_and_a_pinned_image() -> None:
    pipeline, platform = read("pipelines/pipeline.yaml")
    titles = {task["taskInfo"]["name"] for task in pipeline["root"]["dag"]["tasks"].values()}
    assert titles == {step.title for step in steps.STEPS.values()}
    executors = pipeline["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {dag.IMAGE}
    assert all("pip install" not in str(executor["container"]["command"]) for executor in executors.values())
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(placed) == set(executors)
    assert all(place["fieldPathAsEnv"][0]["name"] == "ATELIER_PIPELINE_RUN" for place in placed.values())


def test_an_image_that_can_move_is_refused() -> None:
    digest = "a" * 64
    assert dag.Cluster(image=f"registry.example:5000/atelier@sha256:{digest}")
    for image in ("atelier", "atelier:latest", f"atelier@sha256:{digest[:-1]}", f"Atelier@sha256:{digest}"):
        with pytest.raises(dag.PipelineError, match="not pinned by a digest"):
            dag.Cluster(image=image)


def test_a_login_is_not_compiled_in() -> None:
    with pytest.raises(dag.PipelineError, match="holds a login"):
        dag.Cluster(tracking="http://me:secret@mlflow")


def test_a_task_without_mlflow_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(SystemExit):
        steps.execute("check", form.filled(load(ROOT / "params.yaml")))
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err


def test_what_a_cluster_offers_is_asked_for() -> None:
    cluster = dag.Cluster(
        f"atelier@sha256:{'a' * 64}", gpu="nvidia.com/gpu", claim="states", tracking="http://mlflow", secret="keys"
    )
    pipeline, platform = YAML(typ="safe", pure=True).load_all(runners.compiled(cluster))
    containers = {name: e["container"] for name, e in pipeline["deploymentSpec"]["executors"].items()}
    with_gpu = {name for name, container in containers.items() if "accelerator" in container.get("resources", {})}
    assert with_gpu == {"exec-train", "exec-finetune", "exec-evaluate-base", "exec-evaluate-finetuned"}
    assert containers["exec-train"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    environment = {entry["name"]: entry["value"] for entry in containers["exec-train"]["env"]}
    assert environment == {
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "ATELIER_STATES": "/atelier/states",
        "ATELIER_CACHE": "/atelier/cache",
    }
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert placed["exec-train"]["pvcMount"][0]["mountPath"] == "/atelier"
    assert "pvcMount" not in placed["exec-prepare-base"]
    taken = {key["envVar"] for secret in placed["exec-prepare-base"]["secretAsEnv"] for key in secret["keyToEnv"]}
    assert taken == set(dag.SECRETS)
    assert all(secret["optional"] for secret in placed["exec-prepare-base"]["secretAsEnv"])
    assert pipeline["root"]["dag"]["tasks"]["train"]["retryPolicy"]["maxRetryCount"] == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.source=folder", "data.path 'data/raw' is on this machine"),
        ("finetune.init_from=models/base", "finetune.init_from 'models/base' is on this machine"),
        ("evaluate.weights=inception.pth", "evaluate.weights 'inception.pth' is on this machine"),
    ],
)
def test_submitting_refuses_what_no_node_can_read(override: str, said: str) -> None:
    cluster = dag.Cluster(image=f"atelier@sha256:{'a' * 64}")
    runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), cluster)
    with pytest.raises(dag.PipelineError, match=said):
        runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml", [override]), cluster)
    with pytest.raises(dag.PipelineError, match="--image"):
        runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), dag.Cluster())
