"""GAT: Hyun, Lee and Heo 2026, "Scalable GANs with Transformers", and what their code adds.

Two transformers over the same patches. The generator's tokens are places, to which a style of the latent gives scales and gates;
an image is read after each quarter of its blocks, as a sum of all before it. The discriminator sees the four images of a latent
at once, each under noise, the less the deeper it comes from, and four times the real one likewise: multi-level noise-perturbed
image guidance. Learning rates go with 1 / width. All of it happens in pixels, or in the latents of an autoencoder that is not
trained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from atelier.networks.autoencoder import Form, LatentDecoder, encoded
from atelier.networks.base import Discriminator, DiscriminatorOutput, LatentGenerator
from atelier.networks.equalized import Scaled, pixel_norm
from atelier.networks.gat_settings import LEVELS, Settings
from atelier.networks.layers import ClassEmbedding, ImageShape
from atelier.networks.styles import towards_the_mean
from atelier.networks.transformer import Attention, RMSNorm, Rotary, SwiGLU, patches, sinusoids, unpatched, xavier

MAPPING_RATE = 0.01  # of the learning rate, for the layers of mappings
GAIN = 0.1  # of a block's change and of the style's part in it, at the start
LEAST, RESIDUE = 0.125, 0.01  # share of the first image that the noise leaves, nearly; noise on the last one
SEED = 0  # of the noise outside of training


class Mapping(nn.Module):
    """[N, inner] -> [N, width] by two layers that learn slowly."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inner, width), nn.Linear(width, width)])

    def slow_down(self) -> None:
        """Keeps the parameters 1 / MAPPING_RATE as large, so that Adam moves what is seen of them by that share."""
        for layer in self.layers:
            for name in ("weight", "bias"):
                parametrize.register_parametrization(layer, name, Scaled(MAPPING_RATE))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](F.silu(self.layers[0](x)))  # type: ignore[no-any-return]


class Modulation(nn.Module):
    """A style [N, width] -> `parts` vectors [N, 1, width] each, small at the start."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.linear, self.parts = nn.Linear(width, parts * width), parts

    def start(self) -> None:
        """Makes the weights of a linear layer GAIN as large."""
        nn.init.xavier_uniform_(self.linear.weight, GAIN)

    def forward(self, style: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(style))[:, None].chunk(self.parts, dim=2)  # type: ignore[no-any-return]


class StyledBlock(nn.Module):
    """x + gate f((1 + scale) norm(x)) with attention for f, then with SwiGLU; a style gives scales and gates."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width, learned=False)
        self.attention, self.layers = Attention(width, heads), SwiGLU(width)
        self.modulation = Modulation(width, 4)

    def forward(self, x: Tensor, style: Tensor, rotary: Rotary) -> Tensor:
        scale_attention, gate_attention, scale_layers, gate_layers = self.modulation(style)
        x = x + gate_attention * self.attention(self.norm(x) * (1 + scale_attention), rotary)
        return x + gate_layers * self.layers(self.norm(x) * (1 + scale_layers))


class StyledPixels(nn.Module):
    """Tokens [N, T, width] and a style -> [N, T, out]."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width, learned=False)
        self.modulation, self.linear = Modulation(width, 1), nn.Linear(width, out)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        (scale,) = self.modulation(style)
        return self.linear(self.norm(x) * (1 + scale))  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + gate f(norm(x)) with attention for f, then with SwiGLU; norms have learned scales, gates are learned as they are."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(2))
        self.attention, self.layers = Attention(width, heads), SwiGLU(width)
        self.gates = nn.Parameter(torch.full((2, width), GAIN))

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        x = x + self.gates[0] * self.attention(self.norms[0](x), rotary)
        return x + self.gates[1] * self.layers(self.norms[1](x))


class Entry(nn.Module):
    """Images [N, C, H, W] -> [N, 1 + T, width]: a token that is none of them, and their patches at their places."""

    places: Tensor

    def __init__(self, channels: int, patch: int, rows: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.linear = nn.Linear(channels * patch**2, width)
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("places", sinusoids(rows, width), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.linear(patches(images, self.patch)) + self.places
        return torch.cat([self.token.expand(x.shape[0], 1, -1), x], dim=1)


class ProjectionHead(nn.Module):
    """A token [N, width] -> logits [N]: projected on a slow mapping of the label's embedding, where there are classes."""

    def __init__(self, width: int, projection: int, classes: int) -> None:
        super().__init__()
        self.norm, self.linear = RMSNorm(width), nn.Linear(width, projection if classes else 1)
        self.embedding = ClassEmbedding(classes, projection) if classes else None
        self.mapping = Mapping(projection, projection) if classes else None

    def forward(self, token: Tensor, label: Tensor | None) -> DiscriminatorOutput:
        features = self.linear(self.norm(token))
        if self.embedding is None or self.mapping is None:
            return DiscriminatorOutput(features.squeeze(1))
        return DiscriminatorOutput((features * self.mapping(self.embedding(label))).sum(dim=1))


class GATGenerator(LatentGenerator):
    """Places of tokens -> styled blocks, an image after each quarter -> the sum of these images.

    code: [N, 1, width], the style.
    """

    memory_format = torch.contiguous_format
    levels = LEVELS
    places: Tensor

    def __init__(self, settings: Settings, latent_dim: int, shape: ImageShape) -> None:
        super().__init__(latent_dim, shape)
        self.space, self.autoencoder = space(settings, shape)
        width, self.patch, self.rows = settings.width, settings.patch, self.space.resolution // settings.patch
        self.rate = settings.base_width / width
        self.decoder = LatentDecoder(self.autoencoder) if self.autoencoder else None
        self.embedding = ClassEmbedding(shape.classes, latent_dim) if shape.classes else None
        self.mapping = Mapping(latent_dim * (2 if shape.classes else 1), width)
        self.register_buffer("places", sinusoids(self.rows, width), persistent=False)
        self.rotary = Rotary(self.rows, width // settings.heads)
        self.blocks = nn.ModuleList(StyledBlock(width, settings.heads) for _ in range(settings.depth))
        self.pixels = nn.ModuleList(StyledPixels(width, self.space.channels * self.patch**2) for _ in range(LEVELS))
        _start(self)

    @property
    def judged(self) -> tuple[int, int, int]:
        return LEVELS * self.space.channels, self.space.resolution, self.space.resolution

    def read(self) -> None:
        if self.decoder is not None:
            self.decoder.read()

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        return self._style(z, label)[:, None]

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        return self.shown(self._images(code[:, 0])[-1])

    def drafts(self, z: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        return torch.cat(self._images(self._style(z, label)), dim=1)

    def shown(self, judged: Tensor) -> Tensor:
        last = judged[:, -self.space.channels :]
        return last if self.decoder is None else self.decoder(last)

    def fade_real(self, images: Tensor) -> Tensor:
        return (encoded(self.autoencoder, images) if self.autoencoder else images).repeat(1, LEVELS, 1, 1)

    def truncate(self, code: Tensor, label: Tensor | None, psi: float | Tensor) -> Tensor:
        """Towards the mean style, that of each label."""
        return towards_the_mean(self._style, self.latent_dim, code, label, psi)

    def _style(self, z: Tensor, label: Tensor | None) -> Tensor:
        normed = pixel_norm(z)
        if self.embedding is not None:
            normed = torch.cat([pixel_norm(self.embedding(label)), normed], dim=1)
        found: Tensor = self.mapping(normed)
        return found

    def _images(self, style: Tensor) -> list[Tensor]:
        """The images, or latents, [N, C, H, W] at all depths, the result last."""
        x, every = self.places.expand(style.shape[0], -1, -1), len(self.blocks) // LEVELS
        images: list[Tensor] = []
        for number, block in enumerate(self.blocks, start=1):
            x = self.checkpointed(block, x, style, self.rotary)
            if number % every == 0:
                added = unpatched(self.pixels[len(images)](x, style), self.rows, self.patch)
                images.append(images[-1] + added if images else added)
        return images


class GATDiscriminator(Discriminator):
    """Patches of the images of all depths, stacked, and a token that is none of them -> blocks -> that token's logit.

    Images [N, *judged] are those of `GATGenerator.drafts`, the coarsest first; [N, C, H, W] are images as such, each of which
    counts four times. `noise` [N, noise_dim] is what perturbs them; without it the same noise does each time.
    """

    memory_format = torch.contiguous_format
    usual: Tensor

    def __init__(self, settings: Settings, shape: ImageShape, conditioning: str) -> None:
        super().__init__(shape, conditioning)
        self.space, self.autoencoder = space(settings, shape)
        width, rows = settings.width, self.space.resolution // settings.patch
        self.rate = settings.base_width / width
        seen = LEVELS, self.space.channels, self.space.resolution, self.space.resolution
        self.noise_dim = math.prod(seen)
        self.entry = Entry(LEVELS * self.space.channels, settings.patch, rows, width)
        self.rotary = Rotary(rows, width // settings.heads, others=1)
        self.blocks = nn.ModuleList(Block(width, settings.heads) for _ in range(settings.depth))
        self.head = ProjectionHead(width, settings.projection, shape.classes)
        self.register_buffer("usual", torch.randn(seen, generator=torch.Generator().manual_seed(SEED)), persistent=False)
        _start(self)

    def freezable_stages(self) -> list[nn.Module]:
        return [nn.ModuleList([self.entry, self.blocks[0]]), *self.blocks[1:]]

    def forward(self, images: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> DiscriminatorOutput:
        if self.autoencoder and images.shape[2] == self.shape.resolution:
            images = encoded(self.autoencoder, images)
        levels = images.unflatten(1, (-1, self.space.channels)).expand(-1, LEVELS, -1, -1, -1)
        drawn = self.usual.expand_as(levels) if noise is None else noise.view_as(levels)
        x = self.entry(perturbed(levels, drawn.to(levels.dtype)).flatten(1, 2))
        for block in self.blocks:
            x = self.checkpointed(block, x, self.rotary)
        found: DiscriminatorOutput = self.head(x[:, 0], label)
        return found


def space(settings: Settings, shape: ImageShape) -> tuple[ImageShape, Form | None]:
    """The shape of what both networks work on, and the autoencoder that has such latents, None where it is pixels."""
    if not settings.autoencoder:
        return shape, None
    form = Form(
        settings.autoencoder,
        settings.autoencoder_sha256,
        shape.channels,
        settings.latent_channels,
        settings.latent_scale,
        tuple(settings.autoencoder_widths),
        settings.autoencoder_blocks,
    )
    return ImageShape(shape.resolution >> settings.halvings, settings.latent_channels, shape.classes), form


def noise_shares() -> list[float]:
    """The share t of noise on the image of each depth: 0.885, 0.76, 0.51, 0.01."""
    return [1 - LEAST ** (1 - level / (LEVELS - 1)) + RESIDUE for level in range(LEVELS)]


def perturbed(levels: Tensor, drawn: Tensor) -> Tensor:
    """Images x [N, LEVELS, C, H, W], the coarsest first, and normal numbers of that shape -> (1 - t) x + t noise.

    The noise of a level, of variance 1, holds that of the next finer one: it is that one, faded by what the image is faded by,
    and new noise for the rest.
    """
    found: list[Tensor] = []
    noise, finer = torch.zeros_like(levels[:, 0]), 0.0
    for level, share in reversed(list(enumerate(noise_shares()))):
        kept = (1 - share) / (1 - finer)
        noise = kept * noise + math.sqrt(share**2 - (kept * finer) ** 2) * drawn[:, level]
        found.append((1 - share) * levels[:, level] + noise)
        finer = share
    return torch.stack(found[::-1], dim=1)


def _start(network: nn.Module) -> None:
    """Gives a network its first weights, as the authors' code does."""
    xavier(network)
    for part in network.modules():
        if isinstance(part, ClassEmbedding):
            nn.init.normal_(part.weight, std=0.02)
        elif isinstance(part, Modulation):
            part.start()
        elif isinstance(part, Mapping):
            part.slow_down()


NETWORKS = GATGenerator, GATDiscriminator
