"""Discriminators of patches: Isola et al. 2017, section 3.2.2 (one scale); Wang et al. 2018, section 3.2 (several)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import PatchDiscriminator, PatchOutput
from atelier.networks.layers import SLOPE, ImageShape
from atelier.networks.translation_layers import BlurDown, norm


@dataclass(frozen=True)
class Form:
    """How the layers of a patch discriminator are made.

    `halvings` convolutions of stride 2 (or, `blurred`, of stride 1 before a filter) and one of stride 1 are followed by that of
    the logits. `init` gives them their first weights. All but the first and the last are `normed`, have a bias if they are
    `biased`, and `wrap` is put around them, for spectral norm.
    """

    width: int
    halvings: int
    init: Callable[[nn.Module], None]
    normed: str = "instance"
    eps: float = 1e-5
    biased: bool = True
    blurred: bool = False
    padding: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda layer: layer


class PatchGAN(nn.Module):
    """[N, channels, H, W] -> logits [N, 1, h, w] and the features of all layers: 4x4 convolutions, leaky rectifiers between.

    Without halvings two layers of 1x1 convolutions judge each pixel by itself (Isola et al. 2017, appendix 6.1.2).
    """

    def __init__(self, form: Form, channels: int) -> None:
        super().__init__()
        widths = [channels, *(form.width * min(2**level, 8) for level in range(max(form.halvings, 1) + 1))]
        side, padding = (4, form.padding) if form.halvings else (1, 0)
        self.stages = nn.ModuleList()
        for level, (inner, outer) in enumerate(itertools.pairwise(widths)):
            halved, inside = level < form.halvings, level > 0
            stride = 2 if halved and not form.blurred else 1
            layer: nn.Module = nn.Conv2d(inner, outer, side, stride, padding, bias=form.biased or not inside)
            parts = [layer, norm(form.normed, outer, form.eps)] if inside else [layer]
            for part in parts:
                form.init(part)
            parts[0] = form.wrap(layer) if inside else layer
            self.stages.append(nn.Sequential(*parts, nn.LeakyReLU(SLOPE), *[BlurDown()] * (halved and form.blurred)))
        self.head = nn.Conv2d(widths[-1], 1, side, 1, padding)
        form.init(self.head)


class PatchGANs(PatchDiscriminator):
    """A PatchGAN for each of `scales` sizes: the image, and each time a `smaller` one."""

    def __init__(self, form: Form, scales: int, shape: ImageShape, condition_channels: int) -> None:
        super().__init__(shape, condition_channels)
        self.scales = nn.ModuleList(PatchGAN(form, self.in_channels) for _ in range(scales))

    def freezable_stages(self) -> list[nn.Module]:
        """Stage by stage, each of all scales."""
        return [nn.ModuleList(stages) for stages in zip(*(scale.stages for scale in self.scales), strict=True)]  # type: ignore[arg-type]

    def forward(self, images: Tensor, condition: Tensor | None = None) -> PatchOutput:
        seen, logits, features = self.append_condition(images, condition), [], []
        for index, scale in enumerate(self.scales):
            if index:
                seen = smaller(seen)
            x, maps = seen, []
            for stage in scale.stages:  # type: ignore[union-attr]
                x = self.checkpointed(stage, x)
                maps.append(x)
            logits.append(scale.head(x))  # type: ignore[operator]
            features.append(tuple(maps))
        return PatchOutput(tuple(logits), tuple(features))


def smaller(images: Tensor) -> Tensor:
    """[N, C, H, W] -> half the side, rounded up: the mean of the 3x3 around every second pixel, of those that there are."""
    return F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
