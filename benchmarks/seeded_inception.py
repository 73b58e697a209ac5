"""Inception with seeded weights: what every side of a comparison can be given where the published file cannot be fetched."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class SeededInception(FeatureExtractorInceptionV3):
    """torch-fidelity's network, whose 2048 features differ from image to image; `state_dict` is a whole one, `fc` included.

    Convolutions are scaled as He et al. 2015, and the batch norms hold the statistics of eight noises, from coarse to fine:
    without them the signal dies on the way (deviations of 1e-7 of the mean). PyTorch's random state is left as it was.
    """

    def __init__(self, seed: int = 0) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(seed)
            super().__init__("seeded", ["2048"], feature_extractor_weights_path=nothing)
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if isinstance(layer, nn.BatchNorm2d):
                    layer.momentum = 1.0
            sizes = (2**power for power in range(1, 9))
            noises = [nn.functional.interpolate(torch.rand(1, 3, size, size), 299, mode="bicubic") for size in sizes]
            self.train()((torch.cat(noises).clamp(0, 1) * 255).to(torch.uint8))
            self.eval()

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> None:  # type: ignore[override]
        """The constructor calls it, with the nothing that stands for a file."""
