"""Multilayer perceptrons: the two networks of Goodfellow et al. 2014, with leaky rectifiers for maxout and dropout."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from atelier.networks.base import Discriminator, DiscriminatorOutput, Head, LatentGenerator
from atelier.networks.layers import SLOPE, ImageShape, LabelledLatent
from atelier.networks.mlp_settings import Settings


class MLPGenerator(LatentGenerator):
    """latent -> leaky hidden layers -> tanh pixels."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        self.input = LabelledLatent(latent_dim, shape.classes)
        widths = [self.input.width, *settings.hidden]
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], shape.channels * shape.resolution**2), nn.Tanh())

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        pixels = self.layers(self.input(code[:, 0], label))
        return pixels.unflatten(1, (self.shape.channels, self.shape.resolution, self.shape.resolution))


class MLPDiscriminator(Discriminator):
    """pixels -> leaky hidden layers, widths mirrored -> logit."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        widths = [self.in_channels * shape.resolution**2, *reversed(settings.hidden)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(inner, outer), nn.LeakyReLU(SLOPE)) for inner, outer in itertools.pairwise(widths)
        )
        self.head = Head(widths[-1], shape.classes, conditioning)

    def freezable_stages(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        features = self.append_label_plane(images, label).flatten(1)
        for layer in self.layers:
            features = layer(features)
        return self.head(features, label)


NETWORKS = MLPGenerator, MLPDiscriminator
