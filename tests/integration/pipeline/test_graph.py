"""What is made of the graph of dvc.yaml: images by their hash, partitions, a sweep."""

from __future__ import annotations

import pytest

from atelier.tracking.provenance import environment_tags
from pipelines import dag
from pipelines.environment import IMAGE
from tests.support.compiled_yaml import compiled, compiled_text, documents
from tests.support.pinned_images import ADDRESSES, DATA, PINNED

# --- what is taken from earlier runs


def cached(cluster: dag.Cluster) -> set[str]:
    return {name for name, task in compiled(cluster).items() if task.cached}


def test_nothing_stale_comes_from_the_cache() -> None:
    """It compares the name of a source, of an alias, and no environment: images, champion and MLflow may be others by now."""
    assert cached(dag.Cluster()) == set()
    assert cached(dag.Cluster(PINNED, DATA, reuse=True)) == {
        "prepare_base", "prepare_target", "train", "evaluate_base", "evaluate_finetuned",
    }  # fmt: skip


def test_images_that_are_named_by_their_content_are_taken_from_the_cache() -> None:
    base = {"fetch_base", "prepare_base", "train", "evaluate_base"}
    assert cached(dag.Cluster(PINNED, DATA, imports={"data.base": ADDRESSES["data.base"]})) == base
    both = cached(dag.Cluster(PINNED, DATA, imports=ADDRESSES))
    assert both == base | {"fetch_target", "prepare_target", "evaluate_finetuned"}


def test_changed_images_have_another_address() -> None:
    """The address of the content is an input of the task that fetches it, and so a part of the cache's key."""
    tasks = compiled(dag.Cluster(PINNED, DATA, imports=ADDRESSES))
    for name, told in (("base", "register_base"), ("target", "register_finetuned")):
        assert tasks[f"fetch_{name}"].parameters["uri"] == ("parameter", f"data_{name}_dvc_uri")
        assert tasks[f"prepare_{name}"].artifacts["raw"] == (f"fetch_{name}", "fetched")
        assert tasks[told].parameters["data_address"] == ("parameter", f"data_{name}_dvc_uri")
    pipeline = documents(compiled_text(dag.Cluster(PINNED, DATA, imports=ADDRESSES)))[0]
    assert pipeline["root"]["inputDefinitions"]["parameters"]["data_base_dvc_uri"]["defaultValue"] == ADDRESSES["data.base"]


# --- many tasks side by side


def test_packing_is_shared_by_several_tasks() -> None:
    tasks = compiled(dag.Cluster(PINNED, DATA, partitions=3, imports={"data.base": ADDRESSES["data.base"]}))
    for role in ("base", "target"):
        part, merge = tasks[f"part_{role}"], tasks[f"merge_{role}"]
        assert part.loops == ["[1, 2, 3]"] and part.parameters["part"][0] == "item"
        assert part.parameters["parts"] == ("constant", 3)
        assert merge.artifacts == {"parts": (f"part_{role}", "processed")} and not merge.loops
    assert tasks["part_base"].artifacts == {"raw": ("fetch_base", "fetched")}
    assert tasks["train"].artifacts["data_0"] == ("merge_base", "images")
    assert "prepare_base" not in tasks


def test_a_sweep_goes_on_with_the_best() -> None:
    trials = ({"train.seed": 0}, {"train.seed": 1})
    tasks = compiled(dag.Cluster(PINNED, DATA, trials=trials))
    assert tasks["train"].loops == tasks["evaluate_base"].loops == [("parameter", "sweep_trials")]
    assert tasks["train"].parameters["trial"][0] == "item"
    assert tasks["choose"].artifacts == {"checkpoints": ("train", "checkpoint"), "evaluations": ("evaluate_base", "evaluation")}
    assert tasks["finetune"].artifacts["base"] == tasks["register_base"].artifacts["checkpoint"] == ("choose", "checkpoint")
    assert tasks["register_base"].artifacts["evaluation"] == ("choose", "evaluation")
    assert tasks["finetune"].conditions == ["choose.Output == true"]
    default = documents(compiled_text(dag.Cluster(PINNED, DATA, trials=trials)))[0]["root"]["inputDefinitions"]["parameters"]
    assert default["sweep_trials"]["defaultValue"] == [dict(trial) for trial in trials]


def test_what_needs_no_networks_runs_in_the_smaller_image() -> None:
    tasks = compiled(dag.Cluster(PINNED, DATA, imports={"data.base": ADDRESSES["data.base"]}))
    light = {name for name, task in tasks.items() if task.container.get("image") == DATA}
    assert light == {"check", "finish", "fetch_base", "prepare_base", "prepare_target"}
    assert {task.container["image"] for task in tasks.values()} == {PINNED, DATA}


def test_every_task_tells_its_image_to_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, task in compiled(dag.Cluster(PINNED, DATA)).items():
        with monkeypatch.context() as patch:
            for entry in task.container.get("env", []):
                patch.setenv(entry["name"], entry["value"])
            assert environment_tags()["atelier.image"] == task.container["image"], name
    told = {entry["name"] for task in compiled(dag.Cluster()).values() for entry in task.container.get("env", [])}
    assert IMAGE not in told  # there is none to tell of
