"""SNGAN's residual networks: Miyato et al. 2018, appendix B.4, with class-conditional batch norm (Miyato and Koyama 2018).

Spectral norm is in the discriminator alone. Dropout of the generator's channels varies its images in training.
"""

from __future__ import annotations

from atelier.networks.layers import ImageShape
from atelier.networks.residual import ResidualDiscriminator, ResidualGenerator, by_class, glorot, spectral
from atelier.networks.resnet_settings import Settings


class ResNetGenerator(ResidualGenerator):
    """Batch norms of each class, and dropout."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        width, widest = settings.width_generator, settings.widest_generator
        condition = by_class(shape.classes)
        super().__init__(latent_dim, shape, width, widest, condition, glorot, latent_dim, dropout=settings.dropout)


class ResNetDiscriminator(ResidualDiscriminator):
    """Spectral norm in every layer."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        width, widest = settings.width_discriminator, settings.widest_discriminator
        super().__init__(shape, conditioning, width, widest, lambda layer: spectral(glorot(layer)))


NETWORKS = ResNetGenerator, ResNetDiscriminator
