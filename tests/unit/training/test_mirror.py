"""Saves in a store that every node reaches, here in this process; tests/integration has a real one, and its outages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atelier.training import s3_mirror, states
from tests.support.kept_objects import KeptObjects
from tests.support.mirrored import KEY, fetched, sent, tree


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(s3_mirror, "S3Storage", KeptObjects)
    return f"s3://here{tmp_path}"


def test_another_node_gets_the_newest_save(prefix: str, tmp_path: Path) -> None:
    here = sent(prefix, tmp_path / "a", 5, 10)
    there = fetched(prefix, tmp_path / "b")
    assert there.progress == 10 and tree(there.path).items() <= tree(here.path).items()
    assert torch.equal(states.read(there.step(10), KEY)[0]["networks"]["value"], torch.full((4,), 10.0))


def test_a_save_that_is_not_whole_is_passed_over(prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = sent(prefix, tmp_path / "a", 5, 10)
    objects = KeptObjects.places[f"{prefix}/{run.path.name}"]
    older = objects[f"saves/{5:09d}.json"]
    lost = next(name for name in objects if name.startswith("files/") and name.removeprefix("files/").encode() not in older)
    del objects[lost]
    assert fetched(prefix, tmp_path / "b").progress == 5
    assert "it is passed over" in caplog.text
