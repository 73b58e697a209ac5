"""DCGAN: Radford, Metz and Chintala 2016, section 3, with the label concatenated to the latent."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from atelier.networks.base import Discriminator, DiscriminatorOutput, Head, LatentGenerator
from atelier.networks.dcgan_settings import Settings
from atelier.networks.layers import (
    LEAKY_GAIN,
    SLOPE,
    BatchNorm,
    ImageShape,
    LabelledLatent,
    Unflatten2d,
    channels_last_grad,
    resolutions,
    scaled_init,
)

INIT_STD = 0.02  # Radford et al. 2016, section 4


class DCGANGenerator(LatentGenerator):
    """latent -> smallest feature map -> transposed 4x4 convolutions of stride 2 -> tanh pixels; batch norm and ReLU between."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        sides = resolutions(shape.resolution)
        widths = [settings.width * 2**step for step in reversed(range(len(sides) - 1))]
        self.input = LabelledLatent(latent_dim, shape.classes)
        self.first = nn.Sequential(
            nn.Linear(self.input.width, widths[0] * sides[0] ** 2, bias=False),
            Unflatten2d(widths[0], sides[0]),
            BatchNorm(widths[0]),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), BatchNorm(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], shape.channels, 4, 2, 1), nn.Tanh())
        self.apply(initialize)

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        x = self.first(self.input(code[:, 0], label))
        for start in range(0, len(self.layers), 3):  # each with its norm and rectifier
            x = self.checkpointed(self.layers[start : start + 3], x)
        return x


class DCGANDiscriminator(Discriminator):
    """pixels -> 4x4 convolutions of stride 2 -> logit; leaky rectifiers, batch norm but in the first layer.

    `batch_norm: false` in the settings is for gradient penalties: batch statistics tie an image's logit to the whole batch,
    so that no gradient norm of a single image exists (Gulrajani et al. 2017, section 4).
    """

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        sides = resolutions(shape.resolution)
        widths = [self.in_channels, *(settings.width * 2**step for step in range(len(sides) - 1))]
        self.layers = nn.ModuleList()
        for index, (inner, outer) in enumerate(itertools.pairwise(widths)):
            normed = settings.batch_norm and index > 0
            self.layers.append(
                nn.Sequential(
                    nn.Conv2d(inner, outer, 4, 2, 1, bias=not normed),
                    BatchNorm(outer) if normed else nn.Identity(),
                    nn.LeakyReLU(SLOPE),
                )
            )
        self.head = Head(widths[-1] * sides[0] ** 2, shape.classes, conditioning)
        if settings.batch_norm:
            self.apply(initialize)
        else:  # nothing rescales what 0.02 would make vanish
            for layer in self.layers:
                scaled_init(layer[0], LEAKY_GAIN)  # type: ignore[index]

    def freezable_stages(self) -> list[nn.Module]:
        return list(self.layers)

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        features = self.append_label_plane(images, label)
        for layer in self.layers:
            features = self.checkpointed(layer, features)
        return self.head(channels_last_grad(features).flatten(1), label)


def initialize(module: nn.Module) -> None:
    """Normal convolutions around 0 and batch norm gains around 1, of standard deviation 0.02."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=INIT_STD)


NETWORKS = DCGANGenerator, DCGANDiscriminator
