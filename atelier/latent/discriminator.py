"""The discriminator of a checkpoint folder, as a judge of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from atelier.latent.told import Unasked
from atelier.models.model import model_settings, read_info, read_weights
from atelier.networks import zoo
from atelier.networks.base import Discriminator
from atelier.networks.fusion import FusionDiscriminator
from atelier.training.checkpoint import networks_in

BATCH = 64  # a multiple of every family's group
NAME = "discriminator."


def has_discriminator(folder: Path) -> bool:
    """Whether one lies there: a generator that was pulled from the registry, or trained without one, has none."""
    path = networks_in(folder)
    if not path.is_file():
        return False
    with safe_open(path, "pt") as file:
        return any(name.startswith(NAME) for name in file.keys())  # noqa: SIM118 - it is no mapping


def load_discriminator(folder: Path, device: torch.device | str = "cpu") -> Discriminator:
    """In eval mode, as the training left it; one of texts is asked for images alone. Raises GeneratorError."""
    info = read_info(folder)
    settings = model_settings(info, folder)
    of_texts = settings.family.start == "text and sound"
    with torch.random.fork_rng(devices=[]):
        _, discriminator = zoo.fusing(settings, info.shape, info.takes) if of_texts else zoo.build(settings, info.shape)
    networks = read_weights(networks_in(folder))
    discriminator.load_state_dict({key.removeprefix(NAME): v for key, v in networks.items() if key.startswith(NAME)})
    discriminator = discriminator.eval().requires_grad_(False).to(device)
    return Unasked(discriminator) if isinstance(discriminator, FusionDiscriminator) else discriminator


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
