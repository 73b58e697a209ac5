"""A database of MLflow and its files find each other wherever their folder is, those of before too."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atelier.registry.fetch import load_checkpoint
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from tests.support.artifacts_of_before import EXPERIMENT, addresses, of_before_fixture, rewrite, use

__all__ = ["of_before_fixture"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A new folder that other users may look into."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_another_user_without_a_home_reads_what_is_not_his(
    of_before: Path, readable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid():
        pytest.skip("only root can become another user")
    shared, theirs, told = readable / "shared", readable / "theirs", readable / "told"
    shutil.copytree(of_before, shared)
    for file in shared.rglob("*.safetensors"):
        file.chmod(0o644)  # as training writes them
    rewrite(shared, str(of_before), str(shared))
    use(of_before, monkeypatch)
    load_checkpoint("models:/digits/1", tmp_path / "pulled")  # all is imported then, also where only root may read Python
    use(shared, monkeypatch)
    for folder in (theirs, told):
        folder.mkdir()
        os.chown(folder, 65534, 65534)

    def as_another_user() -> None:
        os.chdir(shared)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.environ.pop("HOME", None)
        load_checkpoint("models:/digits/1", theirs / "pulled")
        (told / "read").touch()
        with pytest.raises(TrackingError, match="this user may not write there"), step_run("t", EXPERIMENT, {}, required=True):
            pass
        (told / "refused").touch()

    other = multiprocessing.get_context("fork").Process(target=as_another_user)
    other.start()
    other.join(120)
    assert {file.name for file in told.iterdir()} == {"read", "refused"}
    assert sorted(addresses(shared))[0].startswith("file:"), "he could not correct them, nor need they be"
