"""Perceptual losses: images compared by what the layers of a pretrained network see of them, differentiably.

distance          Zhang et al. 2018, eq. 1, all layers and channels alike: between two images, position by position
mean_difference   Salimans et al. 2016, section 3.1, feature matching: between two sets of images that do not correspond
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.extractors.errors import ExtractorError
from atelier.extractors.tensors import tensors
from atelier.extractors.weights import Weights, read, read_published

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG16_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
VGG16_TAPS = (3, 8, 15, 22, 29)  # the last rectifier before each pooling: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
WITHOUT_CHOICE = {"efficientnet_lite0": "packaged", "vgg16": "published"}  # weights, where a setting names the network alone
VGG16_SIDE = 64  # smaller images are enlarged, or nothing is left of them after four poolings
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Perception(nn.Module):
    """Images [N, C, H, W] in [-1, 1] (C is 1 or 3) -> what each of several layers sees, float32 [N, c, h, w] each.

    Each position's features are scaled to unit length, so that layers and networks weigh alike.
    """

    def __init__(self, layers: nn.ModuleList, prepare: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.prepare = layers.eval().requires_grad_(False), prepare

    def forward(self, images: Tensor) -> list[Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            x = self.prepare(images.float().expand(-1, 3, -1, -1))
            seen = []
            for layer in self.layers:
                x = layer(x)
                seen.append(F.normalize(x, dim=1))
        return seen


def distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Of images that correspond, [N] in [0, 4]: the mean over layers and positions of |difference|^2."""
    layers = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(one, other, strict=True)]
    return torch.stack(layers).mean(dim=0)


def mean_difference(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Of two sets of images, a scalar: the mean over layers and positions of |difference of the sets' means|^2."""
    layers = [(a.mean(dim=0) - b.mean(dim=0)).square().sum(dim=0).mean() for a, b in zip(one, other, strict=True)]
    return torch.stack(layers).mean()


def load_perception(network: str, weights: str, setting: str) -> Perception:
    """efficientnet_lite0 (weights: packaged) or vgg16 (published, a file, or an s3:// URI); `setting` names it in messages.

    vgg16 takes a state dict in torchvision's names, as .pth or .safetensors. Raises ExtractorError for weights that are missing
    or do not fit, and StorageAway where an S3 store cannot be reached.
    """
    if network == "efficientnet_lite0" and weights == "packaged":
        return _lite0()
    if network == "vgg16" and weights != "packaged":
        return _vgg16(read_published(VGG16_URL, VGG16_SHA256, setting) if weights == "published" else read(weights, setting))
    raise ExtractorError(
        f"{setting}: {network} with weights {weights}; choose efficientnet_lite0 with packaged, or vgg16 with published, a file "
        "or an s3:// URI"
    )


def _lite0() -> Perception:
    """The stages of EfficientNet-Lite0 down to 1/16 of the side, whose input is as for the Fréchet distance."""
    from atelier.extractors.lite0 import LITE0_SIDE, LITE0_SMALL_SIDE, SMALL_IMAGES, lite0_network  # takes seconds

    network = lite0_network()
    stem = nn.Sequential(network.get_submodule("conv_stem"), network.get_submodule("bn1"))
    stages = [stage for stage in network.get_submodule("blocks").children() if isinstance(stage, nn.Module)]

    def prepare(images: Tensor) -> Tensor:
        side = LITE0_SMALL_SIDE if max(images.shape[2:]) <= SMALL_IMAGES else LITE0_SIDE
        return F.interpolate(images, (side, side), mode="bicubic", antialias=True)  # (x - 127) / 128 of 0 ... 255, nearly

    return Perception(nn.ModuleList([nn.Sequential(stem, stages[0]), *stages[1:5]]), prepare)


def _vgg16(weights: Weights) -> Perception:
    from torchvision.models import vgg16

    with torch.random.fork_rng(devices=[]):
        layers = vgg16(weights=None, init_weights=False).features
    state = {key.removeprefix("features."): value for key, value in tensors(weights).items() if key.startswith("features.")}
    try:
        layers.load_state_dict(state)
    except RuntimeError as error:
        raise ExtractorError(f"{weights.origin}: not the weights of torchvision's vgg16; give its state dict") from error
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # what it writes over is needed for gradients
    starts = (0, *(tap + 1 for tap in VGG16_TAPS))
    parts = [layers[start : tap + 1] for start, tap in zip(starts, VGG16_TAPS, strict=False)]
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return Perception(nn.ModuleList(parts), partial(_for_imagenet, mean=mean, std=std))


def _for_imagenet(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    if min(images.shape[2:]) < VGG16_SIDE:
        images = F.interpolate(images, (VGG16_SIDE, VGG16_SIDE), mode="bilinear", antialias=True)
    mean, std = (value.to(images.device, non_blocking=True) for value in (mean, std))
    return ((images + 1) / 2 - mean) / std
