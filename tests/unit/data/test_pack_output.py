"""Where a packed set may go; nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import Manifest
from atelier.data.pack import pack
from atelier.io.files import WriteError

Make = Callable[..., DataSettings]


def quietly(settings: DataSettings, output: Path, **options: Any) -> Manifest:
    return pack(settings, output, progress=False, **options)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_output_is_never_put_over_other_files(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    """Not over the images themselves, nor into or around them, nor over a folder or file of another kind."""
    settings = data_settings(source="folder", path=str(raw))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    (tmp_path / "link").symlink_to(raw)
    (tmp_path / "around" / "a").mkdir(parents=True)
    (tmp_path / "around" / "manifest.json").touch()
    around = settings.model_copy(update={"path": str(tmp_path / "around" / "a")})
    before = tree(tmp_path)
    for chosen, output, message in (
        (settings, raw, "not an earlier output"),
        (settings, tmp_path / "link", "not an earlier output"),
        (settings, raw / "packed", r"lies inside data\.path .*raw', or around it; choose another"),
        (settings, tmp_path / "link" / "packed", "lies inside"),
        (around, tmp_path / "around", "or around it"),
        (settings, tmp_path / "work", r"not an earlier output, it holds no manifest\.json; choose another folder or remove it"),
        (settings, tmp_path / "work" / "thesis.tex", "is not a folder"),
    ):
        with pytest.raises((DataError, WriteError), match=message):
            quietly(chosen, output)
    assert tree(tmp_path) == before


def test_what_an_embedded_source_does_not_read_may_be_anywhere(tmp_path: Path, data_settings: Make) -> None:
    quietly(data_settings(source="digits-1797", path=str(tmp_path)), tmp_path / "packed")


def test_an_older_set_is_replaced_whole(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    quietly(data_settings(source="folder", path=str(raw), resolution=256, shard_mib=1, holdout=0.4), tmp_path / "packed")
    quietly(data_settings(source="folder", path=str(raw), holdout=0.4), tmp_path / "packed")
    assert sorted(tree(tmp_path / "packed")) == ["manifest.json", "test-00000.tar", "train-00000.tar"]
    before = tree(tmp_path / "packed")
    with pytest.raises(DataError):
        quietly(data_settings(source="folder", path=str(raw), min_side=100), tmp_path / "packed")
    assert tree(tmp_path / "packed") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "raw"]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_file(*_: Any, **__: Any) -> Any:
    return Path("/dev/full").open("r+b")


@pytest.mark.parametrize(
    ("place", "instead"), [("tempfile.TemporaryFile", full_file), ("atelier.data.shards.ShardWriter._records", full)]
)
def test_no_space_left_leaves_nothing(
    place: str, instead: Any, raw: Path, tmp_path: Path, data_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, instead)
    with pytest.raises(WriteError, match="packed: no space left on the device"):
        quietly(data_settings(source="folder", path=str(raw)), tmp_path / "packed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]
