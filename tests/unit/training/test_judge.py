"""The discriminator of a checkpoint folder judges the images of a packed set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from atelier.data.packed import PackedDataset
from atelier.models.model import NETWORKS, from_uint8, load_generator
from atelier.training.judge import judge_of
from tests.support.small_models import CLASSES, make_checkpoint, networks


@pytest.mark.parametrize("conditional", [True, False])
def test_it_says_what_the_discriminator_says(conditional: bool, digits: PackedDataset, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", "mlp", conditional)
    generator = load_generator(folder)
    assert judge_of(folder, generator) is None, "a generator alone has no discriminator"
    _, discriminator = networks("mlp", conditional, 28, 1)
    save_file({f"discriminator.{key}": value for key, value in discriminator.state_dict().items()}, folder / NETWORKS)
    judge, images = judge_of(folder, generator), PackedDataset(digits.folder)
    images.labels = images.labels % len(CLASSES)
    assert judge is not None
    rows = np.arange(1100)[::-1].copy()  # more than are decoded at once
    labels = torch.from_numpy(images.labels[rows]) if conditional else None
    with torch.no_grad():
        expected = discriminator(from_uint8(torch.from_numpy(images.images(rows))), labels).logits
    assert judge(images, rows) == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-5)
