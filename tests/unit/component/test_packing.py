"""A set that was packed otherwise than params.yaml says is refused, or what differs is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atelier.config.settings import load
from atelier.data.errors import DataError
from atelier.data.manifest import load_manifest
from atelier.data.pack import pack
from components.packing import packed_otherwise
from tests.support.commands import run

PACKED = Path("packed")


@pytest.fixture
def packed(workspace: Path) -> Path:
    pack(load().data["base"], PACKED, workers=1, progress=False)
    return workspace


def compared(*overrides: str) -> str:
    return packed_otherwise(load_manifest(PACKED), PACKED, load(overrides=list(overrides)), "base")


@pytest.mark.usefixtures("packed")
def test_equal_settings_have_nothing_to_say() -> None:
    assert compared() == compared("data.base.shard_mib=1", "data.base.max_rejected=7", "data.base.path=elsewhere") == ""


@pytest.mark.usefixtures("packed")
def test_what_networks_are_built_from_is_refused() -> None:
    with pytest.raises(DataError) as refused:
        compared("data.base.resolution=64", "data.target.resolution=64", "data.base.labels=false", "model.conditional=false")
    assert str(refused.value) == (
        "packed: data.base.resolution is 64, but it was packed with 28; data.base.labels is false, but it was packed with true; "
        "pack it again (`dvc repro`, or python -m components.prepare --section data.base --output packed), or say what it is: "
        "--set data.base.resolution=28 --set data.target.resolution=28 --set data.base.labels=true"
    )
    with pytest.raises(DataError, match=r"--set data\.base\.channels=1 --set data\.target\.channels=1$"):
        compared("data.base.channels=3", "data.target.channels=3")


@pytest.mark.usefixtures("packed")
def test_other_fields_are_refused() -> None:
    fields = "data.base.fields={input: {from: lines}, target: {}}"
    with pytest.raises(DataError, match=r"data\.base\.fields is .*, but it was packed with {}; .*--set data\.base\.fields={}$"):
        compared(fields)


def test_equal_fields_have_nothing_to_say(workspace: Path, images: Path) -> None:
    for field in ("line", "color"):
        shutil.copytree(images / "base", workspace / "pairs" / field)
    pairs = ("data.base.path=pairs", "data.base.fields={input: {from: line}, target: {from: color}}")
    pack(load(overrides=list(pairs)).data["base"], PACKED, workers=1, progress=False)
    assert compared(*pairs) == ""
    assert "data.base.group_by is (x), but it was packed with null" in compared(*pairs, "data.base.group_by=(x)")
    with pytest.raises(DataError, match=r"data\.base\.fields is {}, but it was packed with {.*; pack it again"):
        compared()


@pytest.mark.usefixtures("packed")
def test_all_else_is_said() -> None:
    assert compared("data.base.margin=2", "data.base.source=zip", "data.base.holdout=0.5", "data.base.licence=CC0") == (
        "packed: data.base.source is zip, but it was packed with folder; data.base.licence is CC0, but it was packed with none; "
        "data.base.holdout is 0.5, but it was packed with 0.1; data.base.margin is 2, but it was packed with 0; the images are "
        "taken as they were packed"
    )


@pytest.mark.usefixtures("packed")
@pytest.mark.parametrize("step", ["train", "finetune"])
def test_training_by_hand(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--set", "data.base.resolution=32", "--set", "data.target.resolution=32"]
    beginning, section = (["--base", "nowhere"], "data.target") if step == "finetune" else ([], "data.base")
    assert run("train", "--section", step, "--data", "packed", "--output", "model", "--device", "cpu", *beginning, *sizes) == 1
    error = capsys.readouterr().err
    said = f"error: packed: {section}.resolution is 32, but it was packed with 28; "
    assert said in error and f"prepare --section {section}" in error and error.splitlines()[-1].startswith("error: packed: ")
    assert not Path("model").exists() and not Path("mlflow.db").exists()


@pytest.mark.usefixtures("packed")
def test_a_set_of_an_older_version_lacks_newer_settings() -> None:
    """What its manifest does not know is not compared."""
    manifest = load_manifest(PACKED)
    older = {key: value for key, value in manifest.processing.items() if key != "split"}
    assert packed_otherwise(manifest.model_copy(update={"processing": older}), PACKED, load(), "base") == ""
