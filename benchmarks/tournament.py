"""How often each discriminator takes the images of each generator for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.models.model import load_generator, model_settings, read_info, read_weights, sample
from atelier.networks import zoo
from atelier.networks.base import Discriminator
from atelier.tasks.generation.probe import ordered
from atelier.training.checkpoint import networks_in

BATCH = 64  # a multiple of every family's group


def load_discriminator(folder: Path) -> Discriminator:
    """The discriminator of a checkpoint folder, in eval mode."""
    info = read_info(folder)
    with torch.random.fork_rng(devices=[]):
        _, discriminator = zoo.build(model_settings(info, folder), info.shape)
    networks = read_weights(networks_in(folder))
    discriminator.load_state_dict(
        {key.removeprefix("discriminator."): v for key, v in networks.items() if key.startswith("discriminator.")}
    )
    return discriminator.eval().requires_grad_(False)


@torch.inference_mode()
def logits_of(discriminator: Discriminator, images: np.ndarray, labels: Tensor | None) -> Tensor:
    """float32 [N]: how real each of the uint8 images [N, C, H, W] looks; of N the whole batches."""
    found = []
    for start in range(0, len(images) // BATCH * BATCH, BATCH):
        rows = slice(start, start + BATCH)
        seen = torch.from_numpy(images[rows]).float() / 127.5 - 1
        found.append(discriminator(seen, None if labels is None else labels[rows]).overall)
    return torch.cat(found)


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
