"""params.yaml is the one source of Kubeflow's run form."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from atelier.config import reference
from atelier.config.data import SOURCES
from atelier.config.evaluation import Metric
from atelier.config.model import ModelSettings, architectures, family
from atelier.config.section import SettingsError, parse
from atelier.config.training import TrainSettings
from pipelines import dag, form, runners
from pipelines.project import SECTIONS, ProjectSettings, load
from tests.support.compiled_yaml import documents
from tests.support.small import ROOT

R3GAN = ["model.architecture=r3gan", "model.r3gan.channels=[8, 8, 4]", "model.r3gan.group_size=8"]


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The form in the compiled pipeline."""
    return documents(runners.compiled(dag.Cluster()))[0]["root"]["inputDefinitions"]["parameters"]


def test_every_value_of_both_files_is_in_the_form(parameters: dict[str, dict[str, Any]]) -> None:
    raw, placed = (YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8")) for name in ("params.yaml", "cluster.yaml"))
    family = raw["model"].pop("dcgan")  # so is the section of the architecture
    chosen = {f"{section}.regularizers": raw[section].pop("regularizers") for section in ("train", "finetune")}
    cluster = {f"cluster.{key}": value for key, value in placed.items()}
    values = {**dict(form.flat(raw)), **chosen, **cluster, "model.family": family}
    written = {form.parameter(key): value for key, value in values.items()}
    assert written.keys() <= parameters.keys()
    given = {name: parameter["defaultValue"] for name, parameter in parameters.items()}
    assert {name: given[name] for name in written} == written
    defaults = {form.parameter(key): field.get_default() for key, field in reference.all_keys().items()}
    assert given == given | {name: defaults[name] for name in given.keys() - written.keys()}, "what is left out has its default"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train_images", "NUMBER_INTEGER"),
        ("train_regularizers", "STRUCT"),
        ("train_beta1", "NUMBER_DOUBLE"),
        ("model_conditional", "BOOLEAN"),
        ("model_family", "STRUCT"),
        ("evaluate_metrics", "LIST"),
        ("data_resolution", "NUMBER_INTEGER"),
        ("finetune_init_from", "STRING"),
    ],
)
def test_types_are_those_of_the_settings(parameters: dict[str, dict[str, Any]], name: str, kind: str) -> None:
    assert parameters[name]["parameterType"] == kind


def test_descriptions_are_those_of_the_settings(parameters: dict[str, dict[str, Any]]) -> None:
    assert parameters["train_ema_half_life"]["description"] == TrainSettings.model_fields["ema_half_life"].description
    assert parameters["finetune_ema_half_life"]["description"] == parameters["train_ema_half_life"]["description"]
    assert parameters["target_filter"]["description"] == parameters["data_filter"]["description"]
    assert all(parameter["description"] for parameter in parameters.values())


def test_choices_are_those_of_the_settings(parameters: dict[str, dict[str, Any]]) -> None:
    assert parameters["model_architecture"]["literals"] == list(architectures())
    assert {"mlp", "dcgan", "stylegan2"} <= set(parameters["model_architecture"]["literals"])
    assert parameters["target_channels"]["literals"] == [1, 3]
    assert parameters["finetune_objective"]["literals"] == parameters["train_objective"]["literals"]
    assert "literals" not in parameters["train_seed"]
    assert all(p["defaultValue"] in p["literals"] for p in parameters.values() if "literals" in p)


def test_what_a_list_cannot_offer_is_in_the_description(parameters: dict[str, dict[str, Any]]) -> None:
    for name, allowed in (("evaluate_metrics", get_args(Metric)), ("data_source", SOURCES), ("target_source", SOURCES)):
        missing = [word for word in allowed if word not in parameters[name]["description"]]
        assert not missing, f"the description of {name} lacks {missing}"


def test_a_filled_form_gives_the_settings_back() -> None:
    settings = load(ROOT / "params.yaml", [*R3GAN, "train.seed=7"])
    filled = form.filled(settings)
    filled["model_family"] |= {"channels": [8.0, 8.0, 4.0], "blocks": 1.0}  # as KFP hands numbers of a mapping over
    for section in ("data", "model", "finetune", "evaluate"):
        given = {key: filled[form.parameter(f"{section}.{key}")] for key in form.keys(section)}
        assert parse(form.plain(section, given), SECTIONS[section], "the form").model_dump() == expected(settings, section)
    filled["model_family"] = {}
    given = {key: filled[form.parameter(f"model.{key}")] for key in form.keys("model")}
    assert parse(form.plain("model", given), ModelSettings, "the form").family == family("r3gan")(), "nothing is its defaults"


def expected(settings: ProjectSettings, section: str) -> dict[str, Any]:
    """The section without what of the model is of another architecture."""
    values = getattr(settings, section).model_dump()
    return {key: value for key, value in values.items() if key != "dcgan"}


@pytest.mark.parametrize("widths", [[3.7], ["wide"], [8.0, float("inf")], "wide", [[8.0]], [True]])
def test_a_list_that_is_none_of_whole_numbers_is_refused_by_name(widths: Any) -> None:
    """Not cut to whole numbers, nor an error of Python: the validation says which key is wrong."""
    filled = form.filled(load(ROOT / "params.yaml", R3GAN))
    given = {key: filled[form.parameter(f"model.{key}")] for key in form.keys("model")} | {"family": {"channels": widths}}
    with pytest.raises(SettingsError, match=r"the form: model\.r3gan\.channels"):
        parse(form.plain("model", given), ModelSettings, origin="the form", prefix="model")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: {}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"data\.source: missing"):
        form.leaves(tmp_path / "params.yaml")
