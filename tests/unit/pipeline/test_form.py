"""params.yaml is the one source of Kubeflow's run form."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from atelier.config.data import SOURCES
from atelier.config.evaluation import Metric
from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError, parse
from atelier.config.settings import load
from atelier.config.training import TrainSettings
from pipelines import dag, form, runners
from tests.support.compiled_yaml import documents
from tests.support.small import ROOT


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict[str, Any]]:
    """The form in the compiled pipeline."""
    return documents(runners.compiled(dag.Cluster()))[0]["root"]["inputDefinitions"]["parameters"]


def test_every_value_of_params_yaml_is_in_the_form(parameters: dict[str, dict[str, Any]]) -> None:
    raw = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    selector = raw["cluster"].pop("node_selector")  # a mapping that is one value
    values = {**dict(form.flat(raw)), "cluster.node_selector": selector}
    assert set(parameters) == {key.replace(".", "_") for key in values}
    assert {name: parameter["defaultValue"] for name, parameter in parameters.items()} == {
        key.replace(".", "_"): value for key, value in values.items()
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train_images", "NUMBER_INTEGER"),
        ("train_r1", "NUMBER_DOUBLE"),
        ("train_beta1", "NUMBER_DOUBLE"),
        ("model_conditional", "BOOLEAN"),
        ("model_mlp_hidden", "LIST"),
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
    assert parameters["model_architecture"]["literals"] == list(get_args(ModelSettings.model_fields["architecture"].annotation))
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
    settings = load(ROOT / "params.yaml", ["model.mlp.hidden=[3, 5]", "train.seed=7"])
    filled = form.filled(settings)
    filled["model_mlp_hidden"] = [3.0, 5.0]  # as KFP hands a list over
    for section in ("data", "model", "finetune", "evaluate"):
        given = {key: filled[form.parameter(f"{section}.{key}")] for key in form.keys(section)}
        assert form.plain(section, given) == getattr(settings, section).model_dump(mode="json")
    assert all(isinstance(width, int) for width in form.plain("model", {"mlp.hidden": [3.0]})["mlp"]["hidden"])


@pytest.mark.parametrize("widths", [[3.7], ["wide"], [8.0, float("inf")], "wide", [[8.0]], [True]])
def test_a_list_that_is_none_of_whole_numbers_is_refused_by_name(widths: Any) -> None:
    """Not cut to whole numbers, nor an error of Python: the validation says which key is wrong."""
    given = {key: form.filled(load(ROOT / "params.yaml"))[form.parameter(f"model.{key}")] for key in form.keys("model")}
    with pytest.raises(SettingsError, match=r"the form: model\.mlp\.hidden"):
        parse(form.plain("model", {**given, "mlp.hidden": widths}), ModelSettings, origin="the form", prefix="model")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: {}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"data\.source: missing"):
        form.leaves(tmp_path / "params.yaml")
