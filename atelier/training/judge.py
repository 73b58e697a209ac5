"""The discriminator of a checkpoint folder, as a judge of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from atelier.data.packed import PackedDataset
from atelier.models.model import model_settings, read_info, read_weights
from atelier.networks import zoo
from atelier.networks.base import Discriminator, Generator, LatentGenerator
from atelier.training.checkpoint import networks_in

BATCH = 64  # a multiple of every family's group
CHUNK = 16 * BATCH  # images that are decoded at once
NAME = "discriminator."
D = TypeVar("D", bound=Discriminator)
Judge = Callable[[PackedDataset, np.ndarray], np.ndarray]
"""Logits float32 [n] of the real images at rows int64 [n] of a set."""


def has_discriminator(folder: Path) -> bool:
    """Whether one lies there: a generator that was pulled from the registry, or trained without one, has none."""
    path = networks_in(folder)
    if not path.is_file():
        return False
    with safe_open(path, "pt") as file:
        return any(name.startswith(NAME) for name in file.keys())  # noqa: SIM118 - it is no mapping


def load_discriminator(folder: Path, device: torch.device | str = "cpu") -> Discriminator:
    """That of a family which starts from noise, in eval mode, as the training left it. Raises GeneratorError, NetworkError."""
    info = read_info(folder)
    with torch.random.fork_rng(devices=[]):
        _, discriminator = zoo.build(model_settings(info, folder), info.shape)
    return with_weights(discriminator, folder, device)


def with_weights(discriminator: D, folder: Path, device: torch.device | str) -> D:
    """The discriminator with the weights that a checkpoint folder holds. Raises GeneratorError."""
    networks = read_weights(networks_in(folder))
    discriminator.load_state_dict({key.removeprefix(NAME): v for key, v in networks.items() if key.startswith(NAME)})
    return discriminator.eval().requires_grad_(False).to(device)


@torch.inference_mode()
def logits_of(discriminator: Discriminator, images: np.ndarray, labels: Tensor | None) -> Tensor:
    """float32 [N]: how real each of the uint8 images [N, C, H, W] looks, in batches that the first images fill up.

    Where a family compares the images of a group, a logit also says something of its neighbors in the batch.
    """
    device = next(discriminator.parameters()).device
    rows = torch.arange(-(-len(images) // BATCH) * BATCH) % len(images)
    found = []
    for part in rows.split(BATCH):
        seen = torch.from_numpy(images[part.numpy()]).to(device).float() / 127.5 - 1
        found.append(discriminator(seen, None if labels is None else labels[part.to(labels.device)].to(device)).overall)
    return torch.cat(found)[: len(images)].cpu()


def judge_of(folder: Path, generator: Generator) -> Judge | None:
    """The discriminator beside a generator of noise, on its device; None where there is none that judges images alone."""
    if not isinstance(generator, LatentGenerator) or generator.levels > 1 or not has_discriminator(folder):
        return None
    discriminator = load_discriminator(folder, next(generator.parameters()).device)

    def judge(images: PackedDataset, rows: np.ndarray) -> np.ndarray:
        parts = np.split(rows, range(CHUNK, len(rows), CHUNK))
        labels = (torch.from_numpy(images.labels[part]) if generator.info.conditional else None for part in parts)
        logits = (logits_of(discriminator, images.images(part), own) for part, own in zip(parts, labels, strict=True))
        return np.concatenate([one.numpy() for one in logits])

    return judge
