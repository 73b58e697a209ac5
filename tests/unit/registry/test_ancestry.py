"""What a version tells of its making: parameters as they were, data sets as DVC knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atelier.models.model import GeneratorInfo, Gives
from atelier.networks.inputs import of_latents
from atelier.registry.ancestry import Origin, data_sets, dvc_record
from atelier.tracking.place import TrackingError

LOCK = """\
schema: '2.0'
stages:
  prepare@base:
    cmd: python -m components.prepare --section data.base --output data/base
    deps:
    - path: atelier/data
      hash: md5
      md5: 11111111111111111111111111111111.dir
    - path: data/raw/flowers
      hash: md5
      md5: 22222222222222222222222222222222.dir
    params:
      params.yaml:
        data.base: {source: folder, path: data/raw/flowers}
    outs:
    - path: data/base
      hash: md5
      md5: 33333333333333333333333333333333.dir
  prepare@target:
    deps:
    - path: data/raw
      md5: 44444444444444444444444444444444.dir
    params:
      params.yaml:
        data.target: {source: digits-1797, path: data/raw}
    outs:
    - path: data/target
      md5: 55555555555555555555555555555555.dir
  prepare@bucket:
    deps:
    - path: s3://bucket/flowers
      etag: abcdef
    params:
      params.yaml:
        data.bucket: {source: s3, path: s3://bucket/flowers}
    outs:
    - path: data/bucket
      md5: 66666666666666666666666666666666.dir
  prepare_before:
    deps:
    - path: data/raw/old
      md5: 77777777777777777777777777777777.dir
    params:
      params.yaml:
        data: {source: folder, path: data/raw/old}
    outs:
    - path: data/before
      md5: 88888888888888888888888888888888.dir
"""


def info(parent: dict[str, Any] | None = None, seed: int = 3, **data: Any) -> GeneratorInfo:
    return GeneratorInfo(
        model={"architecture": "mlp", "latent_dim": 4, "mlp": {"hidden": [8]}}, classes=[],
        takes=of_latents(4, 0), gives=Gives(resolution=28, channels=1), images_seen=1, step=1, seed=seed,
        settings={"seed": seed, "images": 64},
        code={}, run_key="k", metric={},
        data=data or {"content_hash": "a" * 64, "source": {"kind": "folder", "description": "flowers", "licence": "CC0"}},
        parent=parent,
    )  # fmt: skip


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK)
    return tmp_path / "dvc.lock"


@pytest.mark.parametrize(
    ("packed", "known"),
    [
        ("data/base", {"dvc_md5": f"{'3' * 32}.dir", "raw_path": "data/raw/flowers", "raw_md5": f"{'2' * 32}.dir"}),
        ("data/target", {"dvc_md5": f"{'5' * 32}.dir"}),  # packed from what is inside a Python package
        ("data/bucket", {"dvc_md5": f"{'6' * 32}.dir", "raw_path": "s3://bucket/flowers", "raw_md5": "abcdef"}),
        ("data/before", {"dvc_md5": f"{'8' * 32}.dir", "raw_path": "data/raw/old", "raw_md5": f"{'7' * 32}.dir"}),
        ("data/others", {}),
    ],
)
def test_dvc_tells_of_a_packed_set(locked: Path, packed: str, known: dict[str, str]) -> None:
    assert dvc_record(Path(packed)) == known


def test_without_dvc_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dvc_record(Path("data/base")) == {}


@pytest.mark.parametrize("text", ["stages: [", "schema: '2.0'\n", "", "stages: 3\n"])
def test_a_damaged_lock_is_named(locked: Path, text: str) -> None:
    locked.write_text(text)
    with pytest.raises(TrackingError, match=r"dvc.lock: cannot be read .*; restore it"):
        dvc_record(Path("data/base"))


def test_the_parameters_are_those_of_the_training() -> None:
    """A sweep has tried others than the run's; a fine-tuned generator's base was trained with section train."""
    run = {
        "model": {"architecture": "dcgan", "latent_dim": 64, "mlp": {}},
        "train": {"seed": 0, "images": 9},
        "finetune": {"seed": 0},
    }
    alone = Origin(run).parameters_of(info())
    assert alone["train"] == {"seed": 3, "images": 64} and alone["finetune"] == {"seed": 0}
    assert alone["model"] == {"architecture": "mlp", "latent_dim": 4, "mlp": {"hidden": [8]}}
    tuned = Origin(run).parameters_of(info({"sha256": "f" * 64, **info(seed=5).model_dump(mode="json")}, seed=7))
    assert tuned["finetune"] == {"seed": 7, "images": 64} and tuned["train"] == {"seed": 5, "images": 64}
    assert run["train"] == {"seed": 0, "images": 9}, "the run's own stay as they are"
    assert Origin().parameters_of(info()) == {}


def test_the_images_of_all_generations() -> None:
    parent = {"sha256": "f" * 64, **info(content_hash="b" * 64).model_dump(mode="json")}
    own, older = data_sets(info(parent), {"b" * 64: {"raw_md5": "m"}})
    assert own == {"content_hash": "a" * 64, "description": "flowers", "licence": "CC0"}
    assert older["content_hash"] == "b" * 64 and older["raw_md5"] == "m"
