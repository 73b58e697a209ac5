"""The discriminator of a checkpoint folder as a judge of images alone, also where it was trained to judge what they are told."""

from __future__ import annotations

from pathlib import Path

import torch

from atelier.latent.told import Unasked
from atelier.models.model import model_settings, read_info
from atelier.networks import zoo
from atelier.networks.base import Discriminator
from atelier.networks.fusion import FusionDiscriminator
from atelier.training import judge


def load_discriminator(folder: Path, device: torch.device | str = "cpu") -> Discriminator:
    """In eval mode, as the training left it; one of texts is asked for images alone. Raises GeneratorError."""
    info = read_info(folder)
    settings = model_settings(info, folder)
    if settings.family.start != "text and sound":
        return judge.load_discriminator(folder, device)
    with torch.random.fork_rng(devices=[]):
        _, discriminator = zoo.fusing(settings, info.shape, info.takes)
    assert isinstance(discriminator, FusionDiscriminator)
    return Unasked(judge.with_weights(discriminator, folder, device)).eval()
