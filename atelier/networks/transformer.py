"""Parts of a plain transformer over the patches of an image, without dropout.

patches        Dosovitskiy et al. 2021, section 3.1: each patch of an image is a token
sinusoids      Vaswani et al. 2017, section 3.5, here half of the channels for either axis
Rotary         Su et al. 2021, section 3.2.2, likewise: queries and keys turn by angles that grow with a token's place
Attention      Vaswani et al. 2017, section 3.2, with queries and keys of RMS 1 (Henry et al. 2020)
RMSNorm        Zhang and Sennrich 2019, equation 4
SwiGLU         Shazeer 2020, equation 6, as wide inside as costs what a layer of four times the width does
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.modes import TWICE, is_on

EPSILON = 1e-6  # under the roots of norms
BASE = 10_000.0  # of the wavelengths, from 2 pi tokens to this many times as much


def patches(images: Tensor, side: int) -> Tensor:
    """[N, C, H, W] -> tokens [N, H / side x W / side, C x side x side], row by row."""
    return F.pixel_unshuffle(images, side).flatten(2).transpose(1, 2)


def unpatched(tokens: Tensor, rows: int, side: int) -> Tensor:
    """Tokens [N, rows x rows, C x side x side] -> [N, C, rows x side, rows x side], the inverse of `patches`."""
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (rows, rows)), side)


def sinusoids(rows: int, width: int) -> Tensor:
    """[rows x rows, width] for tokens row by row: sines and cosines of a token's column, then those of its row."""
    place = torch.arange(rows, dtype=torch.float64)
    angles = place[:, None] * BASE ** -(torch.arange(width // 4) / (width // 4))
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(rows), indexing="ij")
    return torch.cat([waves[column.flatten()], waves[row.flatten()]], dim=1).float()


class Rotary(nn.Module):
    """Queries or keys [N, heads, tokens, width] turned by their places: the first half of the width by rows, then by columns.

    The first `others` tokens are none of the image, and stay as they are.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, rows: int, width: int, others: int = 0) -> None:
        super().__init__()
        speeds = BASE ** -(torch.arange(width // 4) / (width // 4))
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(rows), indexing="ij")
        angles = torch.cat([row.flatten()[:, None] * speeds, column.flatten()[:, None] * speeds], dim=1)
        angles = torch.cat([angles.new_zeros(others, width // 2), angles])
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x.unflatten(3, (-1, 2)).unbind(4)
        turned = even * self.cosines - odd * self.sines, odd * self.cosines + even * self.sines
        return torch.stack(turned, dim=4).flatten(3).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """[..., width] scaled to a mean square of 1, in the type that comes in, whatever that of the weights is."""

    def __init__(self, width: int, learned: bool = True) -> None:
        super().__init__(width, EPSILON, elementwise_affine=learned)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, None if self.weight is None else self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Tokens [N, T, width] -> the same shape: each sees all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query_norm, self.key_norm = (RMSNorm(width // heads) for _ in range(2))

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        query, key, value = self.enter(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = (rotary(norm(one)).to(value.dtype) for norm, one in ((self.query_norm, query), (self.key_norm, key)))
        return self.leave(_attended(query, key, value).transpose(1, 2).flatten(2))


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[N, heads, T, width] each -> the same; by products where PyTorch's kernel, not differentiable twice, would not do."""
    if not is_on(TWICE):
        return F.scaled_dot_product_attention(query, key, value)
    weights = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(dim=3)
    return weights.to(value.dtype) @ value


class SwiGLU(nn.Module):
    """Tokens [N, T, width] -> the same shape, each by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 8 * width // 3
        self.enter, self.leave = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, passed = self.enter(x).chunk(2, dim=2)
        return self.leave(F.silu(gate) * passed)


def xavier(network: nn.Module) -> None:
    """Gives linear layers uniform weights (Glorot and Bengio 2010, equation 16) and no bias."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
