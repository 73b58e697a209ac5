"""Pretrained networks by name, as a look at images through named layers, differentiably: what style transfer compares.

| network            | weights                                             | layers                                  |
|--------------------|-----------------------------------------------------|-----------------------------------------|
| efficientnet_lite0 | in its package                                      | stem, stage1 ... stage5                 |
| hed_vgg16          | `python -m atelier.extractors.hed` brings them      | relu1_1, relu1_2, relu2_1 ... relu5_3   |
| vgg16              | published, fetched once; or a file                  | the same                                |
| vgg19              | a file                                              | the same, and relu3_4, relu4_4, relu5_4 |

hed_vgg16 is the trunk of HED (Xie and Tu 2015): VGG16, trained on to find contours in 200 photographs, so not ImageNet's VGG16.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from atelier.extractors.base import fold_batch_norms
from atelier.extractors.errors import ExtractorError
from atelier.extractors.perceptual import VGG16_SHA256, VGG16_URL
from atelier.extractors.tensors import tensors
from atelier.extractors.weights import Weights, read, read_kept, read_published
from atelier.networks.layers import NetworkError
from atelier.networks.vgg import VGG, Pooling, convolutions, from_torchvision

Network = Literal["efficientnet_lite0", "hed_vgg16", "vgg16", "vgg19"]
KNOWN = "known"  # weights: those that a network is known by
HED_FILE = "hed_vgg16.safetensors"
HED_SHA256 = "89ddc058cbcf88d7673279b38b2b8864f43dbacf5cc0e933b211a98b7777b7fe"
HED_COMMAND = "python -m atelier.extractors.hed"
VGG19_FILE = "vgg19-dcbb9e9d.pth"  # torchvision's name of the published weights; it ends in the first digits of their sha256


class Layers(NamedTuple):
    """Layers that are compared where nobody chooses: one of the content, several of the style."""

    content: str
    style: tuple[str, ...]


OF_VGG = Layers("relu3_1", ("relu1_1", "relu2_1", "relu3_1", "relu4_1"))
CHOSEN = {
    "efficientnet_lite0": Layers("stage3", ("stem", "stage1", "stage2", "stage3", "stage4")),
    "hed_vgg16": OF_VGG,
    "vgg16": OF_VGG,
    "vgg19": OF_VGG,
}


class Look(nn.Module):
    """Images [N, C, H, W] in [-1, 1] (C is 1 or 3) to what layers see: forward(images, names) -> float32 [N, c, h, w] by name.

    Images keep their size. Gradients reach them, and no weights. `name` and `sha256` are the network's and that of its weights.
    """

    def __init__(self, name: str, sha256: str, network: nn.Module, names: Collection[str]) -> None:
        super().__init__()
        self.name, self.sha256, self.names = name, sha256, list(names)
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            seen: dict[str, Tensor] = self.network(images.float(), names)
        return seen

    def check(self, names: Collection[str], setting: str) -> None:
        """Raises ExtractorError for layers that there are not; `setting` is where they were chosen."""
        if unknown := [name for name in names if name not in self.names]:
            raise ExtractorError(
                f"{setting}: {self.name} has no layer {', '.join(unknown)}; choose among {', '.join(self.names)}"
            )


def load_look(network: str, weights: str, sha256: str, setting: str, pooling: Pooling = "max") -> Look:
    """The network of that name. `weights` is `known`, a path or an s3:// URI, of which `sha256` is told, "" for any.

    A file holds tensors alone (.safetensors or .pth), by torchvision's names or by ours (conv1_1.weight). `setting` is what
    stands before the keys that chose them (train.style.), for messages. `pooling` is VGG's alone, whose maps are mirrored at
    their rims: with zeros around them pictures get frames. Raises ExtractorError, and StorageAway where an S3 store cannot be
    reached.
    """
    if network == "efficientnet_lite0":
        if weights != KNOWN:
            raise ExtractorError(f"{setting}weights: those of efficientnet_lite0 are in its package; set {KNOWN}")
        return _lite0()
    file = _weights_of(network, weights, setting)
    if sha256 and file.sha256 != sha256:
        raise ExtractorError(
            f"{file.origin}: its sha256 is {file.sha256}, and {setting}sha256 says {sha256}; correct one of them"
        )
    state = tensors(file)
    own = state if "conv1_1.weight" in state else from_torchvision(network, state)
    last = [name for name in convolutions(network) if f"{name}.weight" in own]
    try:
        trunk = VGG(network, last[-1].replace("conv", "relu") if last else "relu1_1", pooling, "reflect")
        trunk.load(own)
    except NetworkError as error:
        raise ExtractorError(f"{file.origin}: {error}; give its state dict") from error
    return Look(network, file.sha256, trunk, trunk.names)


def _weights_of(network: str, weights: str, setting: str) -> Weights:
    """A file of weights in memory."""
    if weights != KNOWN:
        return read(weights, f"{setting}weights")
    if network == "hed_vgg16":
        return read_kept(HED_FILE, HED_SHA256, f"run {HED_COMMAND}, which brings it, or set {setting}weights to its path")
    if network == "vgg16":
        return read_published(VGG16_URL, VGG16_SHA256, f"{setting}weights")
    raise ExtractorError(
        f"{setting}weights: {KNOWN} is not for {network}, which nobody fetches; give the path of torchvision's {VGG19_FILE}"
    )


class _Stages(nn.Module):
    """EfficientNet-Lite0 down to 1/16 of the side; images are scaled as for its Fréchet distance, (x - 127) / 128 nearly."""

    def __init__(self, stages: dict[str, nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)

    def forward(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        x, seen, missing = images.expand(-1, 3, -1, -1), dict[str, Tensor](), set(names)
        for name, stage in self.stages.items():
            x = stage(x)
            if name in missing:
                seen[name] = x
                missing.discard(name)
            if not missing:
                break
        return seen


def _lite0() -> Look:
    from atelier.extractors.lite0 import LITE0_SHA256, lite0_network  # takes seconds

    network = lite0_network()
    stem = nn.Sequential(network.get_submodule("conv_stem"), network.get_submodule("bn1"))
    stages = {"stem": stem} | {
        f"stage{n}": stage for n, stage in enumerate(network.get_submodule("blocks").children(), 1) if n < 6
    }
    found = _Stages(stages)
    fold_batch_norms(found)
    return Look("efficientnet_lite0", LITE0_SHA256, found, stages)
