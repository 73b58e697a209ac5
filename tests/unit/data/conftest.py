"""Images as files, and a folder to bring them to."""

from pathlib import Path

import pytest

from tests.support.data_fixtures import opened, raw

__all__ = ["opened", "raw"]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current one, in which a recipe's get_images.py is run without options."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["get_images.py"])
