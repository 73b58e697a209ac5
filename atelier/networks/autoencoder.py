"""The autoencoder of latent diffusion: Rombach, Blattmann, Lorenz, Esser and Ommer 2022, in whose latents generators may work.

Its tensors have the names of diffusers' AutoencoderKL, so that published files are read as they are. It is never trained: its
weights are buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.extractors.tensors import State, tensors
from atelier.extractors.weights import read
from atelier.networks.layers import NetworkError, wide

GROUPS, EPSILON = 32, 1e-6  # of its group norms
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # names in files of before 2023


@dataclass(frozen=True)
class Form:
    """An autoencoder: its file and that one's sha256; channels of a picture and of its latents, which are `scale` times as large.

    `widths` are the channels of its stages from the picture down, each after the first at half the side, `blocks` a stage.
    """

    weights: str
    sha256: str
    colors: int
    channels: int
    scale: float
    widths: tuple[int, ...]
    blocks: int


class ResidualBlock(nn.Module):
    """[N, inner, H, W] -> [N, outer, H, W]."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(GROUPS, width, EPSILON) for width in (inner, outer))
        self.conv1, self.conv2 = nn.Conv2d(inner, outer, 3, padding=1), nn.Conv2d(outer, outer, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        around: Tensor = self.conv_shortcut(x)
        return around + self.conv2(F.silu(self.norm2(y)))


class Attention(nn.Module):
    """[N, width, H, W] -> the same shape: each position sees all, by one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, width, EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        seen = self.group_norm(x).flatten(2).transpose(1, 2)
        found = F.scaled_dot_product_attention(self.to_q(seen), self.to_k(seen), self.to_v(seen))
        return x + self.to_out[0](found).transpose(1, 2).unflatten(2, x.shape[2:])


class Middle(nn.Module):
    """The smallest map: a block, attention, a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(width, width) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(width)])

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return found


class Halved(nn.Module):
    """[N, width, 2 H, 2 W] -> [N, width, H, W]; zeros come in at the right and at the bottom."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # type: ignore[no-any-return]


class Doubled(nn.Module):
    """[N, width, H, W] -> [N, width, 2 H, 2 W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Residual blocks, and a change of side but for the last stage; `down` and `up` differ in its name alone."""

    def __init__(self, inner: int, outer: int, blocks: int, resampled: nn.Module | None, name: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(inner if index == 0 else outer, outer) for index in range(blocks))
        self.add_module(name, nn.ModuleList([] if resampled is None else [resampled]))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            for layer in part.children():
                x = layer(x)
        return x


class _Half(nn.Module):
    """What encoder and decoder share: layers in the order in which they are made, a norm and SiLU before the last."""

    def forward(self, x: Tensor) -> Tensor:
        for name, part in self.named_children():
            for layer in part if isinstance(part, nn.ModuleList) else [part]:
                x = layer(x)
            if name == "conv_norm_out":
                x = F.silu(x)
        return x


class _Encoder(_Half):
    def __init__(self, form: Form) -> None:
        super().__init__()
        widths, last = form.widths, len(form.widths) - 1
        self.conv_in = nn.Conv2d(form.colors, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Stage(widths[max(index - 1, 0)], width, form.blocks, Halved(width) if index < last else None, "downsamplers")
            for index, width in enumerate(widths)
        )
        self.mid_block = Middle(widths[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 2 * form.channels, 3, padding=1)


class _Decoder(_Half):
    def __init__(self, form: Form) -> None:
        super().__init__()
        widths, last = form.widths[::-1], len(form.widths) - 1
        self.conv_in = nn.Conv2d(form.channels, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0])
        self.up_blocks = nn.ModuleList(
            Stage(widths[max(index - 1, 0)], width, form.blocks + 1, Doubled(width) if index < last else None, "upsamplers")
            for index, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], form.colors, 3, padding=1)


class _Frozen(nn.Module):
    """A part of the autoencoder, whose weights are buffers."""

    form: Form

    def read(self) -> None:
        """Takes its tensors from the file. Raises ExtractorError where it is missing, NetworkError where it is another one."""
        found = _read(self.form)
        own = self.state_dict()
        if unlike := [name for name, value in own.items() if name not in found or found[name].shape != value.shape]:
            raise NetworkError(
                f"{self.form.weights}: {unlike[0]} and {len(unlike) - 1} other tensors are missing or of another shape; set "
                "autoencoder_widths, autoencoder_blocks and latent_channels of model.gat as the file has them, and the set's "
                "channels as its pictures have them"
            )
        self.load_state_dict({name: found[name] for name in own})

    def _freeze(self) -> None:
        for module in list(self.modules()):
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach())


class LatentDecoder(_Frozen):
    """Latents [N, channels, h, w] -> pictures [N, colors, H, W], about [-1, 1]."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.post_quant_conv, self.decoder = nn.Conv2d(form.channels, form.channels, 1), _Decoder(form)
        self._freeze()

    def forward(self, latents: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.post_quant_conv(latents / self.form.scale))
        return found


class LatentEncoder(_Frozen):
    """Pictures [N, colors, H, W] in [-1, 1] -> the means of their latents [N, channels, h, w]."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.encoder, self.quant_conv = _Encoder(form), nn.Conv2d(2 * form.channels, 2 * form.channels, 1)
        self._freeze()

    def forward(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.quant_conv(self.encoder(pictures)).chunk(2, dim=1)[0] * self.form.scale
        return found


@torch.no_grad()
def encoded(form: Form, pictures: Tensor) -> Tensor:
    """The latents of pictures, by an encoder that this process reads once and that is part of no network."""
    return wide(_encoder(form, pictures.device)(pictures))


@cache
def _encoder(form: Form, device: Any) -> LatentEncoder:
    encoder = LatentEncoder(form)
    encoder.read()
    return encoder.to(device)


def _read(form: Form) -> State:
    """The tensors of the file by their present names."""
    file = read(form.weights, "model.gat.autoencoder")
    if file.sha256 != form.sha256:
        raise NetworkError(
            f"{file.origin}: sha256 is {file.sha256}, not {form.sha256} of model.gat.autoencoder_sha256; replace the file, or "
            "set its hash"
        )
    found = {}
    for name, value in tensors(file).items():
        for former, present in FORMER.items():
            name = name.replace(f".attentions.0.{former}.", f".attentions.0.{present}.")
        found[name] = value
    return found
