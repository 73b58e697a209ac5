"""One style in one pass: Johnson, Alahi and Fei-Fei 2016 (supplement, table 1), with instance norm (Ulyanov et al. 2016).

Maps are doubled by repeating neighbors before a convolution (Odena et al. 2016), where the paper has strides of 1/2 that draw a
checkerboard. Pixels are what the last layer gives, of which those outside [-1, 1] are clipped in a file.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Translator
from atelier.networks.inputs import Takes
from atelier.networks.johnson_settings import SHRINKAGE, Settings
from atelier.networks.layers import ImageShape, NetworkError

RESIDUAL = 0.05  # Adam moves each weight of the last layer by its rate, and together they would cross the range of pixels at once


class Layer(nn.Module):
    """A convolution with a mirrored rim, and an instance norm with gain and shift; [N, inner, H, W] -> [N, outer, H/s, W/s].

    The norm is a group norm of one channel a group: equal but for rounding, and more than twice as fast on a CPU.
    """

    def __init__(self, inner: int, outer: int, side: int, eps: float, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inner, outer, side, stride, padding=side // 2, padding_mode="reflect")
        self.norm = nn.GroupNorm(outer, outer, eps)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(x))
        return normed


class Block(nn.Module):
    """x + layer(ReLU(layer(x))), [N, width, H, W]."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.first, self.second = (Layer(width, width, 3, eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class JohnsonGenerator(Translator):
    """9x9 -> two halvings -> residual blocks -> two doublings -> 9x9; with `residual` it adds to its input."""

    multiple = SHRINKAGE

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(settings, shape, takes)
        if any(self.planes.classes.values()) or (settings.residual and self.planes.width not in (1, shape.channels)):
            raise NetworkError("johnson changes one picture, and the inputs are others; choose another model.architecture")
        width, eps = settings.width, settings.eps
        shapes = (self.planes.width, width, 9, 1), (width, 2 * width, 3, 2), (2 * width, 4 * width, 3, 2)
        self.down = nn.ModuleList(Layer(inner, outer, side, eps, stride) for inner, outer, side, stride in shapes)
        self.blocks = nn.ModuleList(Block(4 * width, eps) for _ in range(settings.blocks))
        self.up = nn.ModuleList(Layer(inner, inner // 2, 3, eps) for inner in (4 * width, 2 * width))
        self.last = nn.Conv2d(width, shape.channels, 9, padding=4, padding_mode="reflect")
        if settings.residual:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, noise: Tensor | None = None, **inputs: Tensor) -> Tensor:
        given = x = self.planes(inputs)
        for layer in self.down:
            x = F.relu(self.checkpointed(layer, x))
        for block in self.blocks:
            x = self.checkpointed(block, x)
        for layer in self.up:
            x = F.relu(self.checkpointed(layer, F.interpolate(x, scale_factor=2.0)))
        pixels: Tensor = self.last(x)
        return given + RESIDUAL * pixels if self.settings.residual else pixels


NETWORKS = (JohnsonGenerator,)
