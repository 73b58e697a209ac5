"""The pipeline of Kubeflow is the graph of dvc.yaml."""

from __future__ import annotations

import re
import shlex
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from atelier.config.reference import all_keys
from atelier.config.section import values_of
from pipelines import dag, graph, steps
from pipelines.client import calls
from pipelines.environment import SECRET
from pipelines.project import load
from pipelines.task import Bound
from pipelines.transformations import swept
from tests.support.compiled_yaml import ONE_PRODUCT, Read, compiled, compiled_text, documents, outline, project_folder
from tests.support.pinned_images import ADDRESSES, DATA, PINNED
from tests.support.small import PARAMS, ROOT

Stages = dict[str, dict[str, Any]]
GRAPHS = ROOT / "tests/unit/pipeline/graphs"  # where those of the recipes are, too
AROUND = {"check", "finish"}  # tasks that a command line needs not
VARIANTS = {
    "plain": dag.Cluster(PINNED, DATA, reuse=True),
    "sweep-in-parts-from-dvc": dag.Cluster(PINNED, DATA, imports=ADDRESSES, partitions=3, trials=({"train.seed": 0},)),
}


@pytest.fixture(scope="module")
def stages() -> Stages:
    """The stages of dvc.yaml by the names of their tasks, as DVC fills them in."""
    written = documents((ROOT / "dvc.yaml").read_text(encoding="utf-8"))[0]["stages"]
    values = documents(PARAMS.read_text(encoding="utf-8"))[0]
    found: Stages = {}
    for name, stage in written.items():
        if "foreach" not in stage:
            found[name] = filled(stage, values)
            continue
        for key, item in filled(stage["foreach"], values).items():
            found[f"{name}_{key}"] = filled(stage["do"], {**values, "key": key, "item": item})
    return found


def filled(written: Any, values: dict[str, Any]) -> Any:
    """Templates of DVC by their values."""
    if isinstance(written, dict):
        return {filled(key, values): filled(value, values) for key, value in written.items()}
    if isinstance(written, list):
        return [filled(value, values) for value in written]
    if (whole := re.fullmatch(r"\$\{([\w.]+)\}", str(written))) and isinstance(written, str):
        return reduce(lambda inner, part: inner[part], whole[1].split("."), values)
    if not isinstance(written, str):
        return written
    return re.sub(r"\$\{([\w.]+)\}", lambda one: str(filled(one[0], values)), written)


@pytest.fixture(scope="module")
def tasks() -> dict[str, Read]:
    """Tasks of the pipeline of no cluster by the names that stages have."""
    return compiled(dag.Cluster())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_graph_is_the_one_that_was_reviewed(variant: str) -> None:
    """After a change that is meant: `python -m tests.support.compiled_yaml`, and look at the difference."""
    assert outline(compiled(VARIANTS[variant])) == (GRAPHS / f"{variant}.txt").read_text(encoding="utf-8")


def test_every_stage_is_a_task(stages: Stages, tasks: dict[str, Read]) -> None:
    # Commands validate the whole of params.yaml when they start, and DVC says itself how it ended. A task of Kubeflow sees only
    # its own settings, so there one task more checks all of them first, and one tells MLflow of the end.
    assert set(tasks) == {*stages, *AROUND}
    told = {name for name, task in tasks.items() if "check" in sources(task)}
    assert told == {*stages}, "each waits for the check, which gives it its settings"


def sources(task: Read) -> set[str]:
    """The tasks that give something to a task."""
    return {source for source, _ in (*task.parameters.values(), *task.artifacts.values())}


def test_what_reads_no_settings_waits_for_the_check_too() -> None:
    tasks = compiled(VARIANTS["sweep-in-parts-from-dvc"])
    for name in ("fetch_base", "fetch_target"):
        assert "check" in tasks[name].entry["dependentTasks"] and set(tasks[name].parameters) == {"uri"}


def test_a_stage_declares_what_its_component_reads(stages: Stages) -> None:
    project = load(PARAMS)
    everything = [key for key, _ in values_of(project) if not key.startswith("cluster.")]
    for name, task in dag.graph(dag.Cluster(), project, ROOT / "dvc.yaml").items():
        by_dvc = {key for key in everything for listed in stages[name]["params"] if key == listed or key.startswith(f"{listed}.")}
        # The experiment says where a task's records go: nothing for DVC to run a step again for, but a task must be told. So
        # must training on a cluster know the cluster, and the registry keeps all parameters of a run.
        read = {key for text in Bound(task.component, name, task.section).readings.values() for key in keys_of(text, everything)}
        assert by_dvc | {"registry.experiment"} == read, name


def keys_of(reading: str, everything: list[str]) -> set[str]:
    """The keys behind "*", "train", "data.base", "evaluate.seed,batch"."""
    section, _, some = reading.partition(".")
    places = [f"{section}.{key}" for key in some.split(",")] if some else [section]
    return {key for key in everything if reading == "*" or any(key == one or key.startswith(f"{one}.") for one in places)}


def test_a_stage_declares_the_paths_of_its_command(stages: Stages) -> None:
    made = {path for stage in stages.values() for out in stage["outs"] for path in out}
    for name, stage in stages.items():
        words = shlex.split(stage["cmd"])
        given = dict(zip(words[3::2], words[4::2], strict=True))
        assert [given.pop("--output")] == [path for out in stage["outs"] for path in out], name
        assert made & set(given.values()) == made & set(stage["deps"]), name


def test_a_task_is_given_what_it_reads_as_one_value(tasks: dict[str, Read]) -> None:
    found = dag.graph(dag.Cluster(), load(PARAMS), ROOT / "dvc.yaml")
    for name, task in found.items():
        task_, output = {**tasks[name].parameters, **tasks[name].artifacts}["settings"]
        assert task_ == "check" and dag.handed(found)[output] == dag.bound(task).readings, name
    finish = tasks["finish"].parameters  # it runs where the check has failed, too
    assert finish["experiment"] == ("parameter", "registry_experiment")
    assert finish["last"] == ("constant", ["register_finetuned"])


def test_a_field_of_the_form_reaches_the_check_alone(tasks: dict[str, Read]) -> None:
    """So Kubeflow's cache compares what a task reads. Where a task is placed is told to Kubernetes, not to the task."""
    placement = {"cluster_accelerators", "cluster_memory"}
    for name, task in tasks.items():
        declared = set(task.component.get("inputDefinitions", {}).get("parameters", {}))
        told = {source for kind, source in (task.parameters.get(one, ("", "")) for one in declared) if kind == "parameter"}
        if name == "check":
            assert told == {key.replace(".", "_") for key in load(PARAMS).cluster.form} | {"overrides"}
        else:
            assert told == ({"registry_experiment"} if name == "finish" else set()), name
            others = {source for kind, source in task.parameters.values() if kind == "parameter"} - told
            assert others <= placement, name


def test_settings_of_finetuning_are_no_inputs_of_training(tasks: dict[str, Read]) -> None:
    """What Kubeflow's cache compares: editing finetune.* leaves every input of train as it was."""
    handed = dag.handed(dag.graph(dag.Cluster(), load(PARAMS), ROOT / "dvc.yaml"))
    told = {name: {**task.parameters, **task.artifacts}.get("settings", ("", ""))[1] for name, task in tasks.items()}
    readers = {name for name, output in told.items() if {"finetune", "*"} & {*handed.get(output, {}).values()}}
    assert readers == {"finetune", "register_base", "register_finetuned"}


# --- other projects


def project(folder: Path, text: str) -> graph.Graph:
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    return graph.read(folder / "dvc.yaml", {"sets": {"base": {"to": "a"}, "target": {"to": "b"}}, "seeds": [3, 4]})


PACKED = """\
stages:
  train:
    cmd: python -m components.train --data packed/a --output model --states s
  evaluate:
    foreach: [frechet, kernel]
    do:
      cmd: python -m components.evaluate --stage measure-${item} --checkpoint model --data packed/b --output about/${item}
  prepare:
    foreach: ${sets}
    do:
      cmd: python -m components.prepare --section data.${key} --output packed/${item.to} --workers 2
"""


DETECTOR = """\
stages:
  prepare:
    cmd: python -m components.prepare --section data.base --output packed
  train:
    cmd: python -m components.train_generators --data packed --output models --states s
  detect:
    cmd: python -m components.detect --data packed --checkpoints models --output detector
  keep:
    cmd: python -m components.register_detector --detector detector --output kept
"""


def test_foreach_makes_a_task_for_each_entry(tmp_path: Path) -> None:
    found = project(tmp_path, PACKED)
    assert list(found) == ["prepare_base", "train", "prepare_target", "evaluate_frechet", "evaluate_kernel"]
    assert [found[name].section for name in ("prepare_base", "prepare_target", "train")] == ["data.base", "data.target", "train"]
    assert found["train"].inputs == {"data_0": graph.Source("prepare_base", "images")}
    assert found["evaluate_kernel"].step == "measure-kernel" and found["prepare_base"].values == {}
    assert graph.gates(found) == dict.fromkeys(found, ()), "two judges of one generator do not wait for each other"


def test_a_detector_that_is_rejected_is_not_registered(tmp_path: Path) -> None:
    found = project(tmp_path, DETECTOR)
    assert graph.gates(found) == {"prepare": (), "train": (), "detect": (), "keep": ("detect",)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("components.train", "trainer.main", r"dvc\.yaml: stage train: .* is no component; write python -m components\.NAME"),
        ("components.train", "components.nothing", r"there is no components\.nothing"),
        ("--states s", "--speed 3", r"components\.train takes no --speed; .*--help"),
        ("packed/a --output", "elsewhere --output", r"stage train: no stage makes elsewhere \(--data\); add it to the outs"),
        ("${item.to}", "${item.nothing}", r"\$\{item\.nothing\} names nothing in params\.yaml"),
        ("data packed/b", "data about/kernel", "evaluate_kernel need each other's outputs"),
    ],
)
def test_what_is_no_graph_is_refused_with_the_remedy(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(dag.PipelineError, match=said):
        project(tmp_path, PACKED.replace(old, new))


def test_a_project_of_one_product_is_a_pipeline_too(tmp_path: Path) -> None:
    tasks = compiled(dag.Cluster(), project_folder(tmp_path, ONE_PRODUCT))
    assert set(tasks) == {"check", "pack", "learn", "measure", "keep", "finish"}
    assert tasks["keep"].conditions == ["measure.Output == true"]
    assert tasks["finish"].parameters["last"] == ("constant", ["keep"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--product base", "--product other", r"stage keep: params\.yaml has no product other, but base, finetuned; name one"),
        (
            "--section data.base",
            "--section data.other",
            r"stage pack: data\.other: params\.yaml has no such section, but data\.base",
        ),
    ],
)
def test_a_stage_for_what_params_yaml_does_not_name_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in ONE_PRODUCT
    with pytest.raises(dag.PipelineError, match=said):
        compiled(dag.Cluster(), project_folder(tmp_path, ONE_PRODUCT.replace(old, new)))


def test_a_project_without_finetuning_is_a_pipeline_too(tmp_path: Path) -> None:
    tasks = compiled(dag.Cluster(), project_folder(tmp_path, finetuned=False))
    assert set(tasks) == {"check", "pack", "learn", "measure", "keep", "finish"}
    assert not re.search("finetune|target", str(tasks["check"].container["command"]))
    assert not [name for name in tasks["check"].parameters if re.search("finetune|target", name)]


def test_a_training_from_an_alias_is_never_taken_from_an_earlier_run(tmp_path: Path) -> None:
    found = project(tmp_path, PACKED.replace("--states s", "--init-from models:/digits@champion"))
    assert [dag.may_be_reused(found[name]) for name in ("prepare_base", "train")] == [True, False]


@pytest.mark.parametrize("text", ["", "stages: [", "stages: []\n", "stages: {train: {deps: [x]}}\n"])
def test_a_damaged_dvc_yaml_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(dag.PipelineError, match=r"dvc\.yaml: not as DVC wants it .*`dvc stage list`"):
        project(tmp_path, text)
    (tmp_path / "dvc.yaml").unlink()
    with pytest.raises(dag.PipelineError, match=r"dvc\.yaml: cannot be read"):
        graph.read(tmp_path / "dvc.yaml", {})


def test_trials_wait_for_each_other_and_parts_do_not() -> None:
    cluster = dag.Cluster(PINNED, DATA, partitions=3, trials=({"train.seed": 0}, {"train.seed": 1}), parallel=5)
    assert re.findall(r"parallelismLimit: (\d+)", compiled_text(cluster)) == ["5"]
    with pytest.raises(dag.PipelineError, match="--parallel 0"):
        dag.Cluster(PINNED, DATA, parallel=0)


def test_a_sweep_needs_one_training_and_one_measurement(tmp_path: Path) -> None:
    with pytest.raises(dag.PipelineError, match="2 stages measure train"):
        swept(project(tmp_path, PACKED))


# --- gates and the end


def test_what_is_of_no_use_goes_no_further(tasks: dict[str, Read]) -> None:
    first, second = "evaluate_base.Output == true", "evaluate_finetuned.Output == true"
    gates = {name: task.conditions for name, task in tasks.items() if task.conditions}
    assert gates == {
        "register_base": [first],
        "finetune": [first],
        "evaluate_finetuned": [first],
        "register_finetuned": [first, second],
    }
    for name in ("evaluate_base", "evaluate_finetuned"):
        assert tasks[name].component["outputDefinitions"]["parameters"]["Output"]["parameterType"] == "BOOLEAN"


def test_the_end_is_told_whatever_happens(tasks: dict[str, Read]) -> None:
    finish = tasks["finish"]
    assert finish.entry["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED" and not finish.groups
    assert all(task.groups[0] == "pipeline" for name, task in tasks.items() if name != "finish")


# --- stages


def test_stages_depend_on_their_code_and_their_inputs(stages: Stages) -> None:
    read = {"data/raw"}  # what of no stage makes
    for name, stage in stages.items():
        assert f"{shlex.split(stage['cmd'])[2].replace('.', '/')}.py" in stage["deps"], name
        assert stage["desc"]
        for dep in stage["deps"]:
            made = any(dep in out for other in stages.values() for out in other["outs"])
            assert made or dep in read or (ROOT / dep).exists(), f"{name}: {dep}"
    assert [name for name, stage in stages.items() if "data/raw" in stage["deps"]] == ["prepare_base", "prepare_target"]


# --- images and the environment


@pytest.mark.parametrize("variant", VARIANTS)
def test_titles_of_tasks_and_groups_are_not_cut(variant: str) -> None:
    """Of the UI's titles "Check all settings" is shown whole, and "Prepare the base images" is cut after 18 characters."""
    found = compiled(VARIANTS[variant])
    titles = [task.entry["taskInfo"]["name"] for task in found.values()]
    groups = {group for task in found.values() for group in task.groups}
    assert len({*titles}) == len(titles) and "good enough?" in groups
    assert [title for title in (*titles, *groups) if len(title) > 18] == []


def test_every_task_has_a_pinned_image(tasks: dict[str, Read]) -> None:
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
        Bound(steps.finish, "finish").execute({"experiment": "atelier", "last": ["train"]})
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().err


def test_secrets_have_a_name_and_no_value(tasks: dict[str, Read]) -> None:
    for name, task in tasks.items():
        (secret,) = task.platform["secretAsVolume"]
        assert secret["secretNameParameter"] == {"runtimeValue": {"constant": "atelier"}} and secret["optional"], name
        assert secret["mountPath"] == str(SECRET) and "secretAsEnv" not in task.platform
    assert not {"secret", "password", "token", "key"} & {key.split(".")[-1] for key in all_keys()} - {"secret"}


def test_a_form_may_ask_for_the_secret() -> None:
    for name, task in compiled(dag.Cluster(), overrides=["cluster.form=[cluster.secret]"]).items():
        (secret,) = task.platform["secretAsVolume"]
        named = task.scope[secret["secretNameParameter"]["componentInputParameter"]]
        assert named == ("parameter", "cluster_secret"), name


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.base.source=folder"], "data.base.path 'data/raw' is on this machine"),
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
    settings = load(ROOT / "params.yaml", ["data.base.source=folder"])
    calls.refuse_what_a_cluster_cannot_see(settings, dag.Cluster(PINNED, DATA, imports={"data.base": ADDRESSES["data.base"]}))
