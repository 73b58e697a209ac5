"""dvc.yaml and the pipeline of Kubeflow are one graph: the same steps, edges, settings."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from pipelines import dag, form, runners, steps
from pipelines.client import calls
from pipelines.execute import SECRETS
from pipelines.project import SECTIONS, load
from tests.support.compiled_yaml import Read, documents, read
from tests.support.pinned_images import ADDRESSES, DATA, PINNED
from tests.support.small import ROOT

Graph = dict[str, dict[str, Any]]
AROUND = {"check", "finish"}  # tasks that a command line needs not
EXPERIMENT = "registry_experiment"
# What a component writes into its --output is this output of the task; what --data names is the argument images.
OUTPUTS = {
    "prepare": "images",
    "train": "checkpoint",
    "finetune": "checkpoint",
    "evaluate": "evaluation",
    "register": "registration",
}
ARGUMENTS = {"data": "images", "base-data": "base_images", "finetuned-data": "finetuned_images"}


@pytest.fixture(scope="module")
def stages() -> Graph:
    return documents((ROOT / "dvc.yaml").read_text(encoding="utf-8"))[0]["stages"]


@pytest.fixture(scope="module")
def tasks() -> dict[str, Read]:
    """Tasks of the committed YAML by the names that stages have."""
    return read((ROOT / "pipelines" / "pipeline.yaml").read_text(encoding="utf-8"))


def command(stage: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The component that a stage calls and the options that it gives it: ("train", {"data": "data/base", ...})."""
    python, option, module, *words = shlex.split(stage["cmd"])
    assert (python, option) == ("python", "-m") and all(word.startswith("--") for word in words[::2])
    return module.removeprefix("components."), {
        name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


def test_the_committed_yaml_is_what_compiling_gives() -> None:
    committed = (ROOT / "pipelines" / "pipeline.yaml").read_text(encoding="utf-8")
    assert runners.compiled(dag.Cluster()) == committed, "run `make compile` and commit pipelines/pipeline.yaml"


def test_steps_are_equal(stages: Graph, tasks: dict[str, Read]) -> None:
    # Commands validate the whole of params.yaml when they start, and DVC says itself how it ended. A task of Kubeflow sees only
    # its own settings, so there one task more checks all of them first, and one tells MLflow of the end.
    assert set(tasks) == {*stages, *AROUND}
    checked = {name for name, task in tasks.items() if "check" in task.entry.get("dependentTasks", [])}
    assert checked == {"prepare_base", "prepare_target"}


def test_edges_are_equal(stages: Graph, tasks: dict[str, Read]) -> None:
    """An edge is: which output of which step becomes which argument of which step."""
    makers = {next(iter(out)): name for name, stage in stages.items() for out in stage["outs"]}
    by_dvc = {
        (makers[path], OUTPUTS[command(stages[makers[path]])[0]], name, ARGUMENTS.get(option, option.replace("-", "_")))
        for name, stage in stages.items()
        for option, path in command(stage)[1].items()
        if option != "output" and path in makers
    }
    edges = [(*source, name, argument) for name, task in tasks.items() for argument, source in task.artifacts.items()]
    assert by_dvc == set(edges)
    assert len(edges) == 14


def test_a_stage_declares_the_paths_of_its_command(stages: Graph) -> None:
    made = {path for stage in stages.values() for out in stage["outs"] for path in out}
    for name, stage in stages.items():
        given = command(stage)[1]
        assert [given.pop("output")] == [path for out in stage["outs"] for path in out], name
        assert made & set(given.values()) == made & set(stage["deps"]), name


def test_a_task_runs_the_step_of_its_name(tasks: dict[str, Read]) -> None:
    for name, task in tasks.items():
        assert f'steps.execute("{name}", given)' in " ".join(task.container["command"])


def test_every_step_reads_the_same_settings(stages: Graph, tasks: dict[str, Read]) -> None:
    everything = [leaf.key for leaf in form.leaves().values()]
    for name, stage in stages.items():
        by_dvc = {key for key in everything for listed in stage["params"] if key == listed or key.startswith(f"{listed}.")}
        bound = {
            argument: source
            for argument, source in tasks[name].parameters.items()
            if argument in tasks[name].component["inputDefinitions"]["parameters"]
        }
        told = {"task_id": ("constant", "{{$.pipeline_task_uuid}}")} if name == "register" else {}
        for argument, source in bound.items():
            assert source == told.get(argument, ("parameter", argument)), name  # no other constant, no other name
        # The experiment says where a task's records go: nothing for DVC to run a step again for, but a task must be told.
        # Training on a cluster must know the cluster: where states go, and what the machines are like that it asks for. The
        # registry keeps all parameters of a run.
        cluster = {argument for argument in bound if argument.startswith("cluster_")}
        assert bool(cluster) == (name in ("train", "finetune", "register"))
        assert {form.parameter(key) for key in by_dvc} | {EXPERIMENT} == set(bound) - cluster - {"task_id"}, name


def test_settings_of_finetuning_are_no_inputs_of_training(tasks: dict[str, Read]) -> None:
    """What Kubeflow's cache compares: editing finetune.* leaves every input of train as it was."""
    readers = {name for name, task in tasks.items() if any(p.startswith("finetune_") for p in task.parameters)}
    assert readers == {"finetune", "register", "check"}


# --- gates and the end


def test_what_is_of_no_use_goes_no_further(tasks: dict[str, Read]) -> None:
    first, second = "evaluate_base.Output == true", "evaluate_finetuned.Output == true"
    gates = {name: task.conditions for name, task in tasks.items() if task.conditions}
    assert gates == {"finetune": [first], "evaluate_finetuned": [first], "register": [first, second]}
    for name in ("evaluate_base", "evaluate_finetuned"):
        assert tasks[name].component["outputDefinitions"]["parameters"]["Output"]["parameterType"] == "BOOLEAN"


def test_the_end_is_told_whatever_happens(tasks: dict[str, Read]) -> None:
    finish = tasks["finish"]
    assert finish.entry["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED" and not finish.groups
    assert all(task.groups[0] == "pipeline" for name, task in tasks.items() if name != "finish")


# --- stages


def test_stages_depend_on_their_code_and_their_inputs(stages: Graph) -> None:
    for name, stage in stages.items():
        assert f"components/{command(stage)[0]}.py" in stage["deps"], name
        assert stage["desc"]
        for dep in stage["deps"]:
            made = any(dep in out for other in stages.values() for out in other["outs"])
            assert made or "${" in dep or (ROOT / dep).exists(), f"{name}: {dep}"
    assert "${data.path}" in stages["prepare_base"]["deps"]
    assert "${target.path}" in stages["prepare_target"]["deps"]


# --- images and the environment


def test_every_task_has_a_title_and_a_pinned_image(tasks: dict[str, Read]) -> None:
    assert all(task.entry["taskInfo"]["name"] == steps.STEPS[name].title for name, task in tasks.items())
    assert {task.container["image"] for task in tasks.values()} == {dag.IMAGE, dag.DATA_IMAGE}
    assert all("pip install" not in str(task.container["command"]) for task in tasks.values())
    assert all(task.platform["fieldPathAsEnv"][0]["name"] == "ATELIER_PIPELINE_RUN" for task in tasks.values())


def test_an_image_that_can_move_is_refused() -> None:
    digest = "a" * 64
    assert dag.Cluster(image=PINNED)
    for image in ("atelier", "atelier:latest", f"atelier@sha256:{digest[:-1]}", f"Atelier@sha256:{digest}"):
        with pytest.raises(dag.PipelineError, match=r"--image .* not pinned by a digest"):
            dag.Cluster(image=image)
        with pytest.raises(dag.PipelineError, match=r"--data-image .* not pinned by a digest"):
            dag.Cluster(data_image=image)


def test_a_login_is_not_compiled_in() -> None:
    with pytest.raises(dag.PipelineError, match="holds a login"):
        dag.Cluster(tracking="http://me:secret@mlflow")


def test_a_task_without_mlflow_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(SystemExit):
        steps.execute("check", form.filled(load(ROOT / "params.yaml")))
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err


def test_secrets_have_a_name_and_no_value(tasks: dict[str, Read]) -> None:
    for name, task in tasks.items():
        (secret,) = task.platform["secretAsEnv"]
        named = task.scope[secret["secretNameParameter"]["componentInputParameter"]]
        assert named == ("parameter", "cluster_secret") and secret["optional"], name
        assert {key["envVar"] for key in secret["keyToEnv"]} == {key["secretKey"] for key in secret["keyToEnv"]} == set(SECRETS)
    assert not {"secret", "password", "token", "key"} & {leaf.key.split(".")[-1] for leaf in form.leaves().values()} - {"secret"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.source=folder"], "data.path 'data/raw' is on this machine"),
        (["finetune.init_from=models/base"], "finetune.init_from 'models/base' is on this machine"),
        (["evaluate.extractor=inception", "evaluate.weights=inc.pth"], "evaluate.weights 'inc.pth' is on this machine"),
    ],
)
def test_submitting_refuses_what_no_node_can_read(overrides: list[str], said: str) -> None:
    cluster = dag.Cluster(image=PINNED, data_image=DATA)
    calls.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), cluster)
    with pytest.raises(dag.PipelineError, match=said):
        calls.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml", overrides), cluster)
    with pytest.raises(dag.PipelineError, match="--image"):
        calls.refuse_what_a_cluster_cannot_see(load(ROOT / "params.yaml"), dag.Cluster())


def test_images_that_dvc_has_are_no_reason_to_refuse() -> None:
    settings = load(ROOT / "params.yaml", ["data.source=folder"])
    calls.refuse_what_a_cluster_cannot_see(settings, dag.Cluster(PINNED, DATA, imports={"data": ADDRESSES["data"]}))


def test_all_sections_are_checked_together() -> None:
    assert set(steps.STEPS["check"].settings) == set(SECTIONS)
