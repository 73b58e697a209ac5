"""What layers of a pretrained network see of images before they are rectified (Wang et al. 2018, ESRGAN, section 3.3).

Rectified features are mostly 0 in deep layers, and hold a picture's brightness less well. The stages of EfficientNet-Lite0 end in
convolutions that nothing rectifies; of VGG16 the last rectifier of each part is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atelier.extractors.base import fold_batch_norms
from atelier.extractors.looking import HED_COMMAND, HED_FILE, HED_SHA256
from atelier.extractors.perceptual import WITHOUT_CHOICE, Perception, load_perception
from atelier.extractors.tensors import tensors
from atelier.extractors.weights import read_kept
from atelier.networks.vgg import VGG

HED, HED_TAPS = "hed_vgg16", ("conv2_2", "conv3_3")
LEAST_SHARE = 0.05  # of a layer's mean, by which a channel is divided at least: those that see nothing stay quiet


class BeforeActivation(nn.Module):
    """Images [N, C, H, W] in [-1, 1] (C is 1 or 3) -> what each layer sees, float32 [N, c, h, w] each, as it is.

    `relative` divides a channel's difference by its mean in the targets: without that a few channels of hed_vgg16 decide.
    """

    def __init__(self, perception: Perception, relative: bool = False) -> None:
        super().__init__()
        self.perception, self.relative = perception, relative

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
        of_layers = []
        for a, b in zip(self(images), wanted, strict=True):
            of_channels = (a - b).abs().mean(dim=(0, 2, 3))
            if self.relative:
                sizes = b.abs().mean(dim=(0, 2, 3))
                of_channels = of_channels / sizes.clamp_min(LEAST_SHARE * sizes.mean())
            of_layers.append(of_channels.mean())
        return torch.stack(of_layers).mean()


def load_before_activation(network: str, setting: str) -> BeforeActivation:
    """efficientnet_lite0, vgg16 or hed_vgg16, with the weights that each is known by; `setting` names it in messages.

    Raises ExtractorError for weights that are missing, and StorageAway where a store cannot be reached.
    """
    if network == HED:
        weights = read_kept(HED_FILE, HED_SHA256, f"run {HED_COMMAND}, which brings it, or choose another {setting}")
        trunk = VGG(HED, HED_TAPS[-1].replace("conv", "relu"))
        trunk.load(tensors(weights))
        return BeforeActivation(_parts(trunk), relative=True)
    perception = load_perception(network, WITHOUT_CHOICE[network], setting)
    fold_batch_norms(perception)  # frozen norms are passes through memory that convolutions can do without
    return BeforeActivation(perception)


def _parts(trunk: VGG) -> Perception:
    """The trunk, which ends with the last tap, cut behind each."""
    parts, part = [], list[nn.Module]()
    for name, layer in trunk.layers.items():
        if name.endswith("_1") and name != "conv1_1":
            part.append(nn.MaxPool2d(2, ceil_mode=True))
        part += [nn.ReflectionPad2d(1), layer, nn.ReLU()]
        if name in HED_TAPS:
            parts.append(nn.Sequential(*part))
            part = []

    def prepare(images: Tensor) -> Tensor:
        mean, divisor = (trunk.get_buffer(name).to(images.device, non_blocking=True) for name in ("mean", "divisor"))
        return ((images + 1) * 127.5 - mean) / divisor

    return Perception(nn.ModuleList(parts), prepare)
