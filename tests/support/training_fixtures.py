from __future__ import annotations

import pytest

from atelier.config import settings
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from tests.support.small import PARAMS


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """The embedded UCI digits, packed at 28 px."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    pack(settings.load(PARAMS).data["target"], folder, workers=1, progress=False)
    return PackedDataset(folder)
