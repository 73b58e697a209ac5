"""BigGAN: Brock, Donahue and Simonyan 2019; with a discriminator of several scales (Wang et al. 2018, section 3.2).

The latent is cut into a part for the first layer and one for each block (hierarchical latents, section 3). A block's batch norms
are conditioned by its part beside an embedding of the label that all blocks share. Every layer has spectral norm, and begins
orthogonal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Discriminator, DiscriminatorOutput
from atelier.networks.biggan_settings import Settings
from atelier.networks.layers import ClassEmbedding, ImageShape, resolutions
from atelier.networks.residual import ResidualDiscriminator, ResidualGenerator, orthogonal, spectral

THRESHOLD = 2.0  # beyond which truncation 1 would cut, did it not leave everything as it is


def normed(layer: nn.Module) -> nn.Module:
    """An orthogonal layer with spectral norm."""
    return spectral(orthogonal(layer))


class BigGANGenerator(ResidualGenerator):
    """code: [N, blocks + 1, width], the latent filled up with zeros to parts of one width."""

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        parts = len(resolutions(shape.resolution))
        part, embedding = math.ceil(latent_dim / parts), settings.embedding if shape.classes else 0
        super().__init__(
            latent_dim,
            shape,
            settings.width_generator,
            settings.widest_generator,
            lambda width: normed(nn.Linear(embedding + part, width, bias=False)),
            normed,
            entry=part,
            attention=shape.resolution // 2**settings.attention,
        )
        self.parts, self.part = parts, part
        self.shared = ClassEmbedding(shape.classes, embedding) if shape.classes else None
        if self.shared is not None:
            orthogonal(self.shared)

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        return F.pad(z, (0, self.parts * self.part - self.latent_dim)).unflatten(1, (self.parts, self.part))

    def conditions(self, code: Tensor, label: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        shared = [] if self.shared is None else [self.shared(label)]
        return code[:, 0], [torch.cat([*shared, part], dim=1) for part in code[:, 1:].unbind(1)]

    def truncate(self, code: Tensor, label: Tensor | None, psi: float | Tensor) -> Tensor:
        """Normal values become those of a normal distribution that is cut at 2 psi (section 3.1), by their rank; psi 1 cuts none.

        Where the paper draws again what lies beyond the threshold, each value takes the place that it has among all: equal seeds
        stay alike from one truncation to the next.
        """
        psi = torch.as_tensor(psi, dtype=torch.float64, device=code.device)
        inside = torch.erf(THRESHOLD * psi / math.sqrt(2))  # the share of normal values within the threshold
        cut = torch.erfinv(torch.erf(code.double() / math.sqrt(2)) * inside) * math.sqrt(2)
        return torch.where(psi < 1, cut, code.double()).to(code.dtype)


class BigGANDiscriminator(Discriminator):
    """A discriminator with weights of its own for each scale: the image, its half, its quarter. logits [N], or [N, scales]."""

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        attention = shape.resolution // 2**settings.attention
        shapes = [ImageShape(shape.resolution // 2**scale, shape.channels, shape.classes) for scale in range(settings.scales)]
        width, widest = settings.width_discriminator, settings.widest_discriminator
        # the name in files of weights
        self.critics = nn.ModuleList(ResidualDiscriminator(one, conditioning, width, widest, normed, attention) for one in shapes)

    def freezable_stages(self) -> list[nn.Module]:
        """Stages k of all scales, whose maps have half the side at each smaller one, are frozen together."""
        each = [one.freezable_stages() for one in self.critics]  # type: ignore[operator]
        return [nn.ModuleList(stages[k] for stages in each if k < len(stages)) for k in range(len(each[0]))]

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiscriminatorOutput:
        logits = []
        for one in self.critics:
            logits.append(one(images, label).logits)
            images = F.avg_pool2d(images, 2)
        return DiscriminatorOutput(logits[0] if len(logits) == 1 else torch.stack(logits, dim=1))


NETWORKS = BigGANGenerator, BigGANDiscriminator
