"""The checkpoint that the commands of latent codes are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_models import make_checkpoint


@pytest.fixture(name="checkpoint", scope="module")
def checkpoint_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("latent") / "checkpoint", "dcgan")
