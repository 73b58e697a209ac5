"""SAGAN: Zhang, Goodfellow, Metaxas and Odena 2019. Self-attention and spectral norm in both networks."""

from __future__ import annotations

from torch import nn

from atelier.networks.layers import ImageShape
from atelier.networks.residual import ResidualDiscriminator, ResidualGenerator, by_class, glorot, spectral
from atelier.networks.sagan_settings import Settings


class SAGANGenerator(ResidualGenerator):
    """Batch norms of each class; attends where the image's side is halved `attention` times."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        width, widest = settings.width_generator, settings.widest_generator
        side = shape.resolution // 2**settings.attention
        super().__init__(latent_dim, shape, width, widest, by_class(shape.classes), normed, latent_dim, side)


class SAGANDiscriminator(ResidualDiscriminator):
    """Attends at the same side."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        side = shape.resolution // 2**settings.attention
        super().__init__(shape, conditioning, settings.width_discriminator, settings.widest_discriminator, normed, side)


def normed(layer: nn.Module) -> nn.Module:
    """A layer with spectral norm."""
    return spectral(glorot(layer))


NETWORKS = SAGANGenerator, SAGANDiscriminator
