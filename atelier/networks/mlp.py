"""Multilayer perceptrons: the two players of Goodfellow et al. 2014, with leaky rectifiers for maxout and dropout."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from atelier.networks.layers import SLOPE, Discriminator, Generator, ImageShape, LabelledLatent, ProjectionHead
from atelier.settings import MLPSettings


class MLPGenerator(Generator):
    """latent -> rectified hidden layers -> tanh pixels."""

    def __init__(self, settings: MLPSettings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        self.input = LabelledLatent(latent_dim, shape.classes)
        widths = [self.input.width, *settings.hidden]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], shape.channels * shape.resolution**2), nn.Tanh())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        pixels = self.layers(self.input(z, label))
        return pixels.unflatten(1, (self.shape.channels, self.shape.resolution, self.shape.resolution))


class MLPDiscriminator(Discriminator):
    """pixels -> leaky hidden layers, widths mirrored -> logit."""

    def __init__(self, settings: MLPSettings, shape: ImageShape) -> None:
        super().__init__(shape)
        widths = [shape.channels * shape.resolution**2, *reversed(settings.hidden)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(inner, outer), nn.LeakyReLU(SLOPE)) for inner, outer in itertools.pairwise(widths)
        )
        self.head = ProjectionHead(widths[-1], shape.classes)

    def stages(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        features = images.flatten(1)
        for layer in self.layers:
            features = layer(features)
        return self.head(features, label)
