"""The contract of a component: what follows from its signature, for the command line and for others."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from atelier.config.cluster import ClusterSettings
from atelier.config.evaluation import EvaluateSettings
from atelier.config.section import SettingsError
from atelier.config.settings import SECTIONS, Settings, load
from atelier.config.training import TrainSettings
from components import cli, evaluate, prepare, train
from components.contract import Dataset, Direction, In, Model, Out, component
from tests.support.small import ROOT


@component(
    reads={"settings": "train|finetune", "seen": "evaluate.seed,batch", "experiment": "registry.experiment"},
    exclusive=("count", "fast"),
)
def measure(
    settings: TrainSettings,
    seen: EvaluateSettings,
    experiment: str,
    data: Annotated[In[Dataset], "images"],
    models: Annotated[list[In[Model]], "generators"],
    output: Annotated[Out[Model], "the result"],
    base: Annotated[In[Model] | None, "a model"] = None,
    section: Annotated[Literal["train", "finetune"], "which section"] = "train",
    count: Annotated[int, "how many"] = 3,
    fast: Annotated[str | None, "how"] = None,
    unseen: float = 0.5,
) -> tuple[Any, ...]:
    """Gives back what arrived."""
    return settings, seen.seed, experiment, data, models, base, count, unseen


def test_the_signature_says_what_is_taken_and_made() -> None:
    assert {name: one.artifact and one.artifact.name for name, one in measure.artifacts(Direction.IN).items()} == {
        "data": "images", "models": "checkpoint", "base": "checkpoint",
    }  # fmt: skip
    assert list(measure.artifacts(Direction.OUT)) == ["output"]
    assert [name for name, one in measure.arguments.items() if one.optional] == ["base", "section", "count", "fast", "unseen"]
    assert measure.arguments["models"].many and measure.arguments["models"].type is Path
    assert measure.arguments["section"].choices == ("train", "finetune")


def test_it_reads_the_section_that_is_chosen_and_no_other_key() -> None:
    assert measure.sections("finetune") == {"finetune": (), "evaluate": ("seed", "batch"), "registry": ("experiment",)}
    assert set(measure.sections("")) == {"train", "evaluate", "registry"}
    whole = load(ROOT / "params.yaml", ["evaluate.seed=7"])
    given: dict[str, Any] = {name: getattr(whole, name) for name in SECTIONS}
    given["evaluate"] = {"seed": 7, "batch": 2}  # as a task gets it
    found = measure.settings(given, "finetune")
    assert found["settings"] is whole.finetune and found["experiment"] == "atelier" and found["seen"].seed == 7
    with pytest.raises(AttributeError):
        _ = found["seen"].samples


def test_what_reads_everything_has_it_validated_together() -> None:
    @component(reads={"settings": "*"})
    def check(settings: Settings) -> Settings:
        return settings

    whole = load(ROOT / "params.yaml")
    sections: dict[str, Any] = {name: getattr(whole, name) for name in SECTIONS}
    assert check.settings(sections, "")["settings"] == whole and set(check.sections("")) == set(SECTIONS)
    sections["target"] = whole.target.model_copy(update={"channels": 3})
    with pytest.raises(SettingsError, match=r"target\.channels is 3 but data\.channels is 1"):
        check.settings(sections, "")


def test_a_task_may_read_where_it_is_placed() -> None:
    @component(reads={"cluster": "cluster", "states": "cluster.states", "part": "cluster.cpu,memory"})
    def ask(cluster: ClusterSettings, states: str, part: ClusterSettings) -> None:
        """Asks."""

    placed = ClusterSettings(states="s3://bucket/states")
    assert ask.settings({"cluster": placed}, "") == {"cluster": placed, "states": placed.states, "part": placed}
    assert ask.readings["part"].value({"cluster": {"cpu": "3", "memory": "1Gi"}}, "").cpu == "3"


def test_the_command_line_follows_from_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser(measure, "Measures.")
    words = ["--data", "images", "--models", "a", "b", "--output", "made", "--params", str(ROOT / "params.yaml")]
    args = parser.parse_args([*words, "--section", "finetune", "--set", "finetune.seed=5", "--count", "4"])
    settings, seed, experiment, data, models, base, count, unseen = cli.call(measure, args)
    assert (settings.seed, seed, experiment, data, base, count, unseen) == (5, 0, "atelier", Path("images"), None, 4, 0.5)
    assert models == [Path("a"), Path("b")]
    for wrong, said in (
        (["--data", "images"], "required: --models, --output"),
        ([*words, "--count", "1", "--fast", "x"], "not allowed with"),
        ([*words, "--section", "other"], "invalid choice"),
        ([*words, "--unseen", "1"], "unrecognized arguments"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)
        assert said in capsys.readouterr().err


def test_a_component_is_found_by_its_reference() -> None:
    for one in (train.train, evaluate.evaluate, prepare.prepare_part):
        assert pkgutil.resolve_name(one.reference) is one
    assert prepare.prepare_part.reference == "components.prepare:prepare_part"
