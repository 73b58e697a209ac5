"""dvc.yaml and the pipeline of Kubeflow are one graph: the same steps, edges, settings."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from ruamel.yaml import YAML

from atelier.registry.lineage import environment_tags
from atelier.settings import load
from pipelines import dag, form, runners, steps
from small import ROOT

Graph = dict[str, dict[str, Any]]
CHECK = "check"
EXPERIMENT = "registry_experiment"
# What a component writes into its --output is this output of the task; what --data names is the argument images.
OUTPUTS = {
    "prepare": "images",
    "train": "checkpoint",
    "finetune": "checkpoint",
    "evaluate": "evaluation",
    "register": "registration",
}
ARGUMENTS = {"data": "images"}
PINNED = f"registry.example:5000/atelier@sha256:{'a' * 64}"


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


def command(stage: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The component that a stage calls and the options that it gives it: ("train", {"data": "data/base", ...})."""
    python, option, module, *words = shlex.split(stage["cmd"])
    assert (python, option) == ("python", "-m") and all(word.startswith("--") for word in words[::2])
    return module.removeprefix("components."), {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


def compiled(cluster: dag.Cluster) -> tuple[Graph, Graph, dict[str, Any]]:
    """Tasks, containers by the names of their executors, and what the cluster adds to them."""
    pipeline, platform = YAML(typ="safe", pure=True).load_all(runners.compiled(cluster))
    containers = {name: executor["container"] for name, executor in pipeline["deploymentSpec"]["executors"].items()}
    return (
        pipeline["root"]["dag"]["tasks"],
        containers,
        platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"],
    )


def test_the_committed_yaml_is_what_compiling_gives() -> None:
    committed = (ROOT / "pipelines" / "pipeline.yaml").read_text(encoding="utf-8")
    assert runners.compiled(dag.Cluster()) == committed, "run `make compile` and commit pipelines/pipeline.yaml"


def test_steps_are_equal(stages: Graph, tasks: Graph) -> None:
    # Commands validate the whole of params.yaml when they start. A task of Kubeflow sees only its own settings, so there
    # one task more does that for the run, before anything else.
    assert set(tasks) == {*stages, CHECK}
    assert {name for name, task in tasks.items() if CHECK in task.get("dependentTasks", [])} == {"prepare_base", "prepare_target"}


def test_edges_are_equal(stages: Graph, tasks: Graph) -> None:
    """An edge is: which output of which step becomes which argument of which step."""
    makers = {next(iter(out)): name for name, stage in stages.items() for out in stage["outs"]}
    by_dvc = {
        (makers[path], OUTPUTS[command(stages[makers[path]])[0]], name, ARGUMENTS.get(option, option.replace("-", "_")))
        for name, stage in stages.items()
        for option, path in command(stage)[1].items()
        if option != "output" and path in makers
    }
    edges = [
        (source["taskOutputArtifact"], name, argument)
        for name, task in tasks.items()
        for argument, source in task["inputs"].get("artifacts", {}).items()
    ]
    by_kubeflow = {
        (out["producerTask"].replace("-", "_"), out["outputArtifactKey"], name, argument) for out, name, argument in edges
    }
    assert by_dvc == by_kubeflow
    assert len(edges) == 12


def test_a_stage_declares_the_paths_of_its_command(stages: Graph) -> None:
    made = {path for stage in stages.values() for out in stage["outs"] for path in out}
    for name, stage in stages.items():
        given = command(stage)[1]
        assert [given.pop("output")] == [path for out in stage["outs"] for path in out], name
        assert made & set(given.values()) == made & set(stage["deps"]), name


def test_a_task_runs_the_step_of_its_name(tasks: Graph) -> None:
    pipeline = read("pipelines/pipeline.yaml")[0]
    for name, task in tasks.items():
        executor = pipeline["components"][task["componentRef"]["name"]]["executorLabel"]
        shipped = " ".join(pipeline["deploymentSpec"]["executors"][executor]["container"]["command"])
        assert f'steps.execute("{name}", given)' in shipped


def test_every_step_reads_the_same_settings(stages: Graph, tasks: Graph) -> None:
    everything = [leaf.key for leaf in form.leaves().values()]
    for name, stage in stages.items():
        by_dvc = {key for key in everything for listed in stage["params"] if key == listed or key.startswith(f"{listed}.")}
        bound = {source["componentInputParameter"] for source in tasks[name]["inputs"]["parameters"].values()}
        # The experiment says where a task's records go: nothing for DVC to run a step again for, but a task must be told.
        assert {form.parameter(key) for key in by_dvc} | {EXPERIMENT} == bound, name
        assert set(tasks[name]["inputs"]["parameters"]) == bound, name  # no constant, no other name


def test_settings_of_finetuning_are_no_inputs_of_training(tasks: Graph) -> None:
    """What Kubeflow's cache compares: editing finetune.* leaves every input of train as it was."""
    readers = {name for name, task in tasks.items() if any(p.startswith("finetune_") for p in task["inputs"]["parameters"])}
    assert readers == {"finetune", CHECK}


def test_nothing_stale_comes_from_the_cache() -> None:
    """It compares the name of a source, of an alias, and no environment: images, champion and MLflow may be others by now."""

    def cached(cluster: dag.Cluster) -> set[str]:
        return {name for name, task in compiled(cluster)[0].items() if task["cachingOptions"].get("enableCache")}

    assert cached(dag.Cluster()) == set()
    reused = cached(dag.Cluster(PINNED, reuse=True))
    assert reused == {"prepare-base", "prepare-target", "train", "evaluate-base", "evaluate-finetuned"}


def test_stages_depend_on_their_code_and_their_inputs(stages: Graph) -> None:
    for name, stage in stages.items():
        assert f"components/{command(stage)[0]}.py" in stage["deps"], name
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
    assert dag.Cluster(image=PINNED)
    for image in ("atelier", "atelier:latest", f"atelier@sha256:{digest[:-1]}", f"Atelier@sha256:{digest}"):
        with pytest.raises(dag.PipelineError, match="not pinned by a digest"):
            dag.Cluster(image=image)


def test_every_task_tells_its_image_to_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    _, containers, _ = compiled(dag.Cluster(PINNED))
    for name, container in containers.items():
        with monkeypatch.context() as patch:
            for entry in container.get("env", []):
                patch.setenv(entry["name"], entry["value"])
            assert environment_tags()["atelier.image"] == PINNED, name
    assert not any("env" in container for container in compiled(dag.Cluster())[1].values())  # no image, nothing to tell


def test_a_login_is_not_compiled_in() -> None:
    with pytest.raises(dag.PipelineError, match="holds a login"):
        dag.Cluster(tracking="http://me:secret@mlflow")


def test_a_task_without_mlflow_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(SystemExit):
        steps.execute("check", form.filled(load(ROOT / "params.yaml")))
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err


def test_what_a_cluster_offers_is_asked_for() -> None:
    cluster = dag.Cluster(PINNED, gpu="nvidia.com/gpu", claim="states", tracking="http://mlflow", secret="keys")
    tasks, containers, placed = compiled(cluster)
    with_gpu = {name for name, container in containers.items() if "accelerator" in container.get("resources", {})}
    assert with_gpu == {"exec-train", "exec-finetune", "exec-evaluate-base", "exec-evaluate-finetuned"}
    assert containers["exec-train"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    environment = {entry["name"]: entry["value"] for entry in containers["exec-train"]["env"]}
    assert environment == {
        "ATELIER_IMAGE": PINNED,
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "ATELIER_STATES": "/atelier/states",
        "ATELIER_CACHE": "/atelier/cache",
    }
    assert placed["exec-train"]["pvcMount"][0]["mountPath"] == "/atelier"
    assert "pvcMount" not in placed["exec-prepare-base"]
    taken = {key["envVar"] for secret in placed["exec-prepare-base"]["secretAsEnv"] for key in secret["keyToEnv"]}
    assert taken == set(dag.SECRETS)
    assert all(secret["optional"] for secret in placed["exec-prepare-base"]["secretAsEnv"])
    assert tasks["train"]["retryPolicy"]["maxRetryCount"] == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.source=folder"], "data.path 'data/raw' is on this machine"),
        (["finetune.init_from=models/base"], "finetune.init_from 'models/base' is on this machine"),
        (["evaluate.extractor=inception", "evaluate.weights=inc.pth"], "evaluate.weights 'inc.pth' is on this machine"),
    ],
)
def test_submitting_refuses_what_no_node_can_read(overrides: list[str], said: str) -> None:
    cluster = dag.Cluster(image=PINNED)
    runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), cluster)
    with pytest.raises(dag.PipelineError, match=said):
        runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml", overrides), cluster)
    with pytest.raises(dag.PipelineError, match="--image"):
        runners.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), dag.Cluster())
