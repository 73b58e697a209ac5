"""Colors alone: each pixel by itself, through curves that the whole picture sets.

He, Liu, Qiao and Dong 2020, "Conditional Sequential Modulation for Efficient Global Image Retouching", section 3: a base network
of 1x1 convolutions, each scaled and shifted by what a condition network sees of the picture. The paper learns from pairs; here a
discriminator of patches teaches it, without norms, which would hide colors from it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Translator
from atelier.networks.csrnet_settings import Settings
from atelier.networks.inputs import Takes
from atelier.networks.layers import SLOPE, ImageShape, NetworkError
from atelier.networks.patchgan import Form, PatchGANs
from atelier.networks.translation_layers import zero_bias


class CSRNetGenerator(Translator):
    """[N, planes, H, W] -> pixels [N, C, H, W]: three 1x1 convolutions, each modulated by the condition [N, width_condition].

    With `residual` the pixels are added to the input and cut to [-1, 1], with `keep_white` times its distance from white.
    """

    multiple = 1

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        if settings.residual and (any(self.planes.classes.values()) or self.planes.width not in (1, shape.channels)):
            raise NetworkError(
                f"model.csrnet.residual adds to one picture of 1 or {shape.channels} channels, and the inputs are others: set it "
                "to false"
            )
        width, seen = settings.width, settings.width_condition
        sides = (self.planes.width, seen, 7), (seen, seen, 3), (seen, seen, 3)
        self.condition = nn.ModuleList(nn.Conv2d(inner, outer, side, 2, side // 2) for inner, outer, side in sides)
        widths = (self.planes.width, width), (width, width), (width, shape.channels)
        self.base = nn.ModuleList(nn.Conv2d(inner, outer, 1) for inner, outer in widths)
        self.modulations = nn.ModuleList(nn.Linear(seen, 2 * outer) for _, outer in widths)
        self._begin()

    def _begin(self) -> None:
        """First weights: unmodulated. Biases of the base stay random, since curves bend where these let them."""
        self.condition.apply(he_init)
        for layer in self.base:
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)  # type: ignore[arg-type]
        for modulation in self.modulations:
            nn.init.zeros_(modulation.weight)  # type: ignore[arg-type]
            zero_bias(modulation)
        if self.settings.residual:
            nn.init.zeros_(self.base[-1].weight)  # type: ignore[arg-type]
            zero_bias(self.base[-1])

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        given = self.planes(inputs)
        pixels = self.checkpointed(self._pixels, given, self.checkpointed(self._seen, given))
        if not self.settings.residual:
            return pixels.tanh()
        if self.settings.keep_white:
            pixels = pixels * (1 - given.amin(dim=1, keepdim=True))
        return (given + pixels).clamp(-1, 1)

    def _seen(self, x: Tensor) -> Tensor:
        """What the condition network sees of pictures, [N, width_condition]."""
        for layer in self.condition:
            x = F.leaky_relu(layer(x), SLOPE)
        return x.mean(dim=(2, 3))

    def _pixels(self, x: Tensor, seen: Tensor) -> Tensor:
        for number, (layer, modulation) in enumerate(zip(self.base, self.modulations, strict=True)):
            scale, shift = modulation(seen)[:, :, None, None].chunk(2, dim=1)
            x = layer(F.leaky_relu(x, SLOPE) if number else x) * (1 + scale) + shift
        return x


class CSRNetDiscriminator(PatchGANs):
    """One scale, without norms."""

    def __init__(self, settings: Settings, shape: ImageShape, condition_channels: int) -> None:
        form = Form(settings.width_discriminator, settings.layers_discriminator, he_init, normed="none")
        super().__init__(form, 1, shape, condition_channels)


def he_init(module: nn.Module) -> None:
    """Normal weights of variance 2 / ((1 + slope^2) fan in) (He et al. 2015, equation 15), biases zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        zero_bias(module)


NETWORKS = CSRNetGenerator, CSRNetDiscriminator
