"""What layers of a pretrained network see of images before they are rectified (Wang et al. 2018, ESRGAN, section 3.3).

Rectified features are mostly 0 in deep layers, and hold a picture's brightness less well. The stages of EfficientNet-Lite0 end in
convolutions that nothing rectifies; of VGG16 the last rectifier of each part is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atelier.extractors.perceptual import Perception


class BeforeActivation(nn.Module):
    """Images [N, C, H, W] in [-1, 1] (C is 1 or 3) -> what each layer sees, float32 [N, c, h, w] each, as it is."""

    def __init__(self, perception: Perception) -> None:
        super().__init__()
        self.perception = perception

    def forward(self, images: Tensor) -> list[Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            x = self.perception.prepare(images.float().expand(-1, 3, -1, -1))
            seen = []
            for layer in self.perception.layers:
                assert isinstance(layer, nn.Sequential)
                rectified = isinstance(layer[-1], nn.ReLU)
                seen.append(layer[:-1](x) if rectified else layer(x))
                x = layer[-1](seen[-1]) if rectified else seen[-1]
        return seen

    def distance(self, images: Tensor, targets: Tensor) -> Tensor:
        """A scalar: the mean over layers of the mean |difference| of what they see of both; targets take no gradients."""
        with torch.no_grad():
            wanted = self(targets)
        return torch.stack([(a - b).abs().mean() for a, b in zip(self(images), wanted, strict=True)]).mean()
