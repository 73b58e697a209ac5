"""The checkpoints that the commands of latent codes are given, and label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.io.label_maps import painted
from atelier.networks.inputs import LabelMap
from tests.support import small_translators
from tests.support.small_models import make_checkpoint


@pytest.fixture(name="checkpoint", scope="module")
def checkpoint_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("latent") / "checkpoint", "dcgan")


@pytest.fixture(name="of_maps", scope="module")
def of_maps_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a generator that is given label maps beside noise."""
    return small_translators.make_checkpoint(tmp_path_factory.mktemp("maps") / "checkpoint", "oasis")


@pytest.fixture(name="maps", scope="module")
def maps_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two label maps: colors of classes 0 and 1 in one, indices of classes 2 and none in the other."""
    folder = tmp_path_factory.mktemp("drawn")
    kind = small_translators.takes("oasis")["map"]
    assert isinstance(kind, LabelMap)
    halves = np.repeat([0, 1], 16).astype(np.uint8)[None].repeat(32, axis=0)
    painted(halves, kind.marks).convert("RGB").save(folder / "0.png")
    Image.fromarray(np.where(halves, np.uint8(255), np.uint8(2))).save(folder / "1.png")
    return folder
