"""params.yaml and cluster.yaml are the one source of Kubeflow's run form."""

from __future__ import annotations

from functools import reduce
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from atelier.config.model import architectures
from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings
from pipelines import dag, form
from pipelines.project import ProjectSettings, load
from tests.support.compiled_yaml import compiled_text, documents
from tests.support.floated import floated
from tests.support.small import PARAMS, ROOT

PROJECT = load(PARAMS)
R3GAN = ["model.architecture=r3gan", "model.r3gan.channels=[8, 8, 4]", "model.r3gan.group_size=8"]
KINDS = {
    "train.images": "NUMBER_INTEGER",
    "train.beta1": "NUMBER_DOUBLE",
    "train.objective": "STRING",
    "model.conditional": "BOOLEAN",
    "model.dcgan.width": "NUMBER_INTEGER",
    "data.target.channels": "NUMBER_INTEGER",
    "finetune.init_from": "STRING",
    "finetune.ema_half_life": "NUMBER_INTEGER",
    "evaluate.metrics": "LIST",
    "cluster.node_selector": "STRUCT",
}
Parameters = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    """The form of the repository's project, in the compiled pipeline."""
    return inputs(compiled_text(dag.Cluster()))


@pytest.fixture(scope="module")
def others() -> Parameters:
    """The form of a project that asks for other keys."""
    return inputs(compiled_text(dag.Cluster(), overrides=[f"cluster.form=[{', '.join(KINDS)}]"]))


def inputs(text: str) -> Parameters:
    found: Parameters = documents(text)[0]["root"]["inputDefinitions"]["parameters"]
    return found


def at(values: Any, key: str) -> Any:
    return reduce(lambda inner, part: inner[part], key.split("."), values)


def test_the_form_asks_for_the_keys_that_the_project_names(parameters: Parameters) -> None:
    computed, placed = (
        YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8")) for name in ("params.yaml", "cluster.yaml")
    )
    written = {**computed, "cluster": placed}
    expected = {key.replace(".", "_"): at(written, key) for key in placed["form"]}
    assert {name: parameter["defaultValue"] for name, parameter in parameters.items()} == {**expected, "overrides": {}}
    assert len(expected) == len(placed["form"]) and len(parameters) <= 24


def test_types_are_those_of_the_settings(others: Parameters) -> None:
    expected = {key.replace(".", "_"): kind for key, kind in KINDS.items()} | {"overrides": "STRUCT"}
    assert {name: parameter["parameterType"] for name, parameter in others.items()} == expected


def test_choices_are_those_of_the_settings(parameters: Parameters, others: Parameters) -> None:
    assert parameters["model_architecture"]["literals"] == list(architectures())
    assert {"mlp", "dcgan", "stylegan2"} <= set(parameters["model_architecture"]["literals"])
    assert others["data_target_channels"]["literals"] == [1, 3]
    assert others["train_objective"]["literals"] == list(get_args(TrainSettings.model_fields["objective"].annotation))
    assert "literals" not in parameters["train_seed"]
    every = (*parameters.values(), *others.values())
    assert all(one["defaultValue"] in one["literals"] for one in every if "literals" in one)


@pytest.mark.parametrize(
    "key",
    [
        "train.imags", "train", "train.regularizers", "train.seed.first", "seed", "data.base", "data.other.path", "model.dcgan",
        "model.r3gan.channels", "products.base.data", "cluster.cpus",
    ],
)  # fmt: skip
def test_a_form_asks_for_values_that_there_are(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"cluster\.form: {key} is no value of .*explain {key}"):
        form.leaves(load(PARAMS, [f"cluster.form=[train.batch, {key}]"]))


@pytest.mark.parametrize("key", ["train.data", "finetune.data", "products.base.trained_by", "cluster.form"])
def test_a_form_asks_for_nothing_that_tasks_are_made_from(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"cluster\.form: {key} is compiled into the pipeline, .* take it out"):
        form.leaves(load(PARAMS, [f"cluster.form=[train.batch, {key}]"]))


def test_a_form_asks_for_no_more_than_people_read() -> None:
    keys = [f"train.{key}" for key in TrainSettings.model_fields if key not in ("data", "privacy", "regularizers")]
    assert len(form.leaves(load(PARAMS, [f"cluster.form=[{', '.join(keys[:23])}]"]))) == 23
    with pytest.raises(SettingsError, match=r"cluster\.form: 24 keys and overrides, more than the 24 fields"):
        form.leaves(load(PARAMS, [f"cluster.form=[{', '.join(keys[:24])}]"]))


# --- what a run makes of it


def merged(filled: dict[str, Any], project: ProjectSettings = PROJECT, **overrides: Any) -> ProjectSettings:
    """The settings of a run, by what KFP hands over: every number in a mapping is a float."""
    asked = {key: filled[key.replace(".", "_")] for key in project.cluster.form}
    return form.merged(floated(project.model_dump(mode="json")), asked, floated({**filled["overrides"], **overrides}))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [*R3GAN, "train.seed=7"],
        ["train.seed=7", "train.regularizers={r1: 2.0}", "finetune.regularizers={}", "train.save_every=16", "train.beta1=0"],
        [
            "cluster.states=s3://bucket/states",
            "cluster.memory=4Gi",
            "train.nodes=2",
            "finetune.init_from=models:/digits@champion",
        ],
        ["data.target.path=elsewhere", "data.target.max_rejected=3", "products.finetuned.name=tuned", "gate.min_recall=0"],
        ["evaluate.metrics=[frechet, classifier]", "gate.max_memorised=1.0", "gate.min_coverage=0.0", "gate.min_recall=0.0"],
    ],
)
def test_a_filled_form_gives_the_settings_back(overrides: list[str]) -> None:
    wanted = load(PARAMS, overrides)
    filled = form.filled(wanted, PROJECT)
    assert {*filled} == {*(key.replace(".", "_") for key in PROJECT.cluster.form), "overrides"}
    assert not {*filled["overrides"]} & {*PROJECT.cluster.form}
    assert merged(filled) == wanted


def test_equal_settings_need_no_overrides() -> None:
    assert form.filled(PROJECT, PROJECT)["overrides"] == {}
    assert form.filled(load(PARAMS, ["train.seed=3", "train.beta1=0.5"]), PROJECT)["overrides"] == {"train.beta1": 0.5}


@pytest.mark.parametrize("override", ["train.data=target", "products.base.trained_by=finetune", "products.base.data=target"])
def test_no_form_makes_other_tasks(override: str) -> None:
    with pytest.raises(SettingsError, match=r"--set: (train\.data|products\.base) is compiled into the pipeline"):
        form.filled(load(PARAMS, [override]), PROJECT)


def test_an_architecture_is_chosen_by_the_form_alone() -> None:
    chosen = merged({**form.filled(PROJECT, PROJECT), "model_architecture": "mlp"})
    assert chosen.model.family == load(PARAMS, ["model.architecture=mlp"]).model.family


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("train.sed", 3, r"the run's parameters: train\.sed: unknown key; did you mean seed\?"),
        ("train.beta1", "half", r"the run's parameters: train\.beta1: should be a valid number"),
        ("train.save_every", 10.5, r"the run's parameters: train\.save_every: "),
        ("train.compile", 1, r"train\.compile: should be a valid boolean"),
        ("data.target.channels", 3, r"data\.target\.channels is 3 but data\.base\.channels is 1; .* set both alike"),
        ("seeds", 1, r"the run's parameters: seeds: unknown key"),
        ("train.beta1.first", 1, r"overrides: train\.beta1\.first is no key of params\.yaml; write SECTION\.KEY"),
        ("train.seed", 3, r"overrides: train\.seed is a field of the form, train_seed; say it there"),
        ("train", {"seed": 3}, r"overrides: train\.\w+ is a field of the form, train_\w+; say it there, not in train"),
        ("registry.experiment", "other", r"overrides: registry\.experiment is a field of the form"),
        ("cluster.secret", "other", r"overrides: cluster\.secret is compiled into the pipeline; .* compile it again"),
        ("cluster.node_selector", {"disk": "ssd"}, r"overrides: cluster\.node_selector is compiled into the pipeline"),
        ("train.data", "target", r"overrides: train\.data is compiled into the pipeline; .* compile it again"),
        ("train.data", {}, r"the run's parameters: train\.data\..*: dictionary should have at least 1"),
        ("products.base.trained_by", "finetune", r"overrides: products\.base is compiled into the pipeline"),
        ("products.third", {"name": "third", "trained_by": "train"}, r"overrides: products\.third is compiled into"),
        ("data.third", PROJECT.data["base"].model_dump(mode="json"), r"overrides: data is compiled into the pipeline"),
    ],
)
def test_overrides_that_cannot_be_are_refused_by_name(key: str, value: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        merged(form.filled(PROJECT, PROJECT), **{key: value})


def test_a_sweep_tries_nothing_that_tasks_are_made_from() -> None:
    with pytest.raises(SettingsError, match=r"trial: train\.data is compiled into the pipeline; .* compile it again"):
        form.tried("train", PROJECT.train.model_dump(mode="json"), {"train.data": "target"})


@pytest.mark.parametrize("key", ["registry.experiment", "registry", "cluster", "cluster.cpu", "cluster.accelerators"])
def test_what_tasks_are_placed_by_is_no_override_where_the_form_does_not_ask_for_it(key: str) -> None:
    project = load(PARAMS, ["cluster.form=[train.seed]"])
    filled = form.filled(project, project)
    assert merged(filled, project, **{"cluster.states": "s3://bucket/states"}).cluster.states == "s3://bucket/states"
    with pytest.raises(SettingsError, match=rf"overrides: {key} is compiled into the pipeline"):
        merged(filled, project, **{key: "other"})


@pytest.mark.parametrize("widths", [[3.7], ["wide"], [8.0, float("inf")], "wide", [[8.0]], [True]])
def test_a_list_that_is_none_of_whole_numbers_is_refused_by_name(widths: Any) -> None:
    """Not cut to whole numbers, nor an error of Python: the validation says which key is wrong."""
    with pytest.raises(SettingsError, match=r"the run's parameters: model\.r3gan\.channels"):
        merged(form.filled(load(PARAMS, R3GAN), PROJECT), **{"model.r3gan.channels": widths})


@pytest.mark.parametrize("overrides", [[], "train.seed=1", 3.0])
def test_overrides_that_are_no_keys_are_refused(overrides: Any) -> None:
    with pytest.raises(SettingsError, match="overrides: should be keys with their values"):
        form.merged({}, {}, overrides)
