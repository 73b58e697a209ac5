"""The contract of a component: what follows from its signature, for the command line and for others."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from atelier.config.cluster import ClusterSettings
from atelier.config.evaluation import EvaluateSettings
from atelier.config.section import SettingsError
from atelier.config.settings import Settings, load
from atelier.config.training import TrainSettings
from components import cli, evaluate, prepare, train
from components.contract import Dataset, Direction, In, Model, Out, Reading, component
from tests.support.small import PARAMS

WHOLE = load(PARAMS)


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
    texts = {section: [one.text(section) for one in measure.readings.values()] for section in ("finetune", "train", "")}
    assert texts["finetune"] == ["finetune", "evaluate.seed,batch", "registry.experiment"]
    assert texts["train"] == texts[""] == ["train", "evaluate.seed,batch", "registry.experiment"]
    whole = load(PARAMS, ["evaluate.seed=7"])
    found = measure.settings(whole.named(), "finetune")
    assert found["settings"] == whole.finetune and found["experiment"] == "atelier" and found["seen"].seed == 7
    with pytest.raises(AttributeError):
        _ = found["seen"].samples


def test_it_reads_the_entry_that_is_chosen() -> None:
    whole = load(PARAMS, ["data.target.margin=3"])
    assert prepare.prepare.readings["settings"].text("data.target") == "data.target"
    assert prepare.prepare.settings(whole.named(), "data.target") == {"settings": whole.data["target"], "experiment": "atelier"}
    assert whole.data["target"].margin == 3
    for other in ("data.third", "data", "train"):
        with pytest.raises(
            SettingsError, match=rf"{other}: params\.yaml has no such section, but data\.base, data\.target; name"
        ):
            prepare.prepare.settings(whole.named(), other)


def test_a_section_that_a_project_leaves_out_is_named() -> None:
    sections = {name: one for name, one in load(PARAMS).named().items() if name != "finetune"}
    with pytest.raises(SettingsError, match=r"finetune: params\.yaml has no such section, but data\.base"):
        measure.settings(sections, "finetune")


@pytest.mark.parametrize(
    ("reads", "section", "plain", "seen"),
    [
        ("registry.experiment", "", "atelier", "atelier"),
        ("products.NAME", "products.base", {"name": "digits", "trained_by": "train"}, WHOLE.products["base"]),
        ("train|finetune", "finetune", WHOLE.model_dump(mode="json", exclude_none=True)["finetune"], WHOLE.finetune),
        ("*", "", WHOLE.model_dump(mode="json", exclude_none=True), WHOLE),
    ],
)
def test_what_is_read_travels_as_json(reads: str, section: str, plain: Any, seen: Any) -> None:
    """A task is handed values of JSON, and the same settings come out of them."""
    reading, sections = Reading.of(reads), {**WHOLE.named(), "cluster": ClusterSettings()}
    found = reading.plain(sections, section)
    assert found == plain and reading.received(json.loads(json.dumps(found)), section) == seen


def test_what_reads_everything_has_it_validated_together() -> None:
    @component(reads={"settings": "*"})
    def check(settings: Settings) -> Settings:
        return settings

    whole = load(PARAMS)
    sections = whole.named()
    assert check.settings(sections, "")["settings"] == whole
    assert check.readings["settings"].text("") == "*"
    sections["data.target"] = whole.data["target"].model_copy(update={"channels": 3})
    with pytest.raises(SettingsError, match=r"data\.target\.channels is 3 but data\.base\.channels is 1"):
        check.settings(sections, "")


def test_a_task_may_read_where_it_is_placed() -> None:
    @component(reads={"cluster": "cluster", "states": "cluster.states", "part": "cluster.cpu,memory"})
    def ask(cluster: ClusterSettings, states: str, part: ClusterSettings) -> None:
        """Asks."""

    placed = ClusterSettings(states="s3://bucket/states", cpu="3")
    found = ask.settings({"cluster": placed}, "")
    assert (found["cluster"], found["states"]) == (placed, placed.states)
    assert (found["part"].cpu, found["part"].memory) == ("3", placed.memory)


def test_the_command_line_follows_from_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.parser(measure, "Measures.")
    words = ["--data", "images", "--models", "a", "b", "--output", "made", "--params", str(PARAMS)]
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
