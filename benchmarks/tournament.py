"""How often each discriminator takes the images of each generator for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from atelier.data.packed import PackedDataset
from atelier.models.model import load_generator, read_info, sample
from atelier.tasks.generation.probe import ordered
from atelier.training.judge import BATCH, load_discriminator, logits_of


def matrix(folders: list[Path], data: PackedDataset, images: int, seed: int) -> np.ndarray:
    """[discriminators, generators]: how often each discriminator finds a generated image more real than an unseen real one.

    With labels, than one of the same class: a discriminator may be free to add a constant for each.

    `data` are images that were held out from training. Its labels are also those of the generated images.
    """
    count = min(images, len(data)) // BATCH * BATCH
    rows = np.arange(count)
    real, labels = data.images(rows), torch.from_numpy(data.labels[rows]).long()
    conditional = read_info(folders[0]).conditional
    given = labels if conditional else None
    generated = [np.concatenate(list(sample(load_generator(folder), count, seed, labels=given))) for folder in folders]
    result = np.empty((len(folders), len(folders)))
    for row, folder in enumerate(folders):
        discriminator = load_discriminator(folder)
        truth = logits_of(discriminator, real, given)
        result[row] = [ordered(logits_of(discriminator, fake, given), given, truth, given) for fake in generated]
    return result
