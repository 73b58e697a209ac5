"""torch-fidelity's port of the Inception network that FID is defined on (Heusel et al. 2017; weights of 2015-12-05).

Its features after four layers can be compared, as pytorch-fid offers them. Only a distance between the 2048 last ones, with the
published weights, is called FID. pytorch-fid publishes the same weights under another name.
"""

from __future__ import annotations

import contextlib
import ctypes
import io

import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, BasicConv2d, FeatureExtractorInceptionV3

from atelier.metrics.extractors.base import Extractor, ExtractorError, fold_batch_norms, pixels
from atelier.metrics.extractors.weights import SETTING, State, read, read_published, tensors

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_UPTO_7A_SHA256 = "10b44545fc3110168064df7f8fa2d92e98bdd0549c37a35a420dda2e3fa263b6"
SIDE = 299
FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
# Each layer, and the first part of the network that it does without.
LAYERS = {"64": "Conv2d_3b_1x1", "192": "Mixed_5b", "768": "Mixed_7a", "2048": "fc"}


def load_inception(weights: str, size: tuple[int, int], device: torch.device | str, layer: str) -> Extractor:
    """Inception with `weights`: "published", or the path or `s3://` URI of the published file or, below layer 2048, of the
    published weights up to Mixed_7a. Raises ExtractorError.
    """
    layer = "2048" if layer == "default" else layer
    if layer not in LAYERS:
        raise ExtractorError(f"evaluate.layer (--layer): {layer} is none of inception's; choose {', '.join(LAYERS)} or default")
    if weights == "packaged":
        raise ExtractorError(
            f"{SETTING}: packaged is for efficientnet_lite0; for inception set published (fetched once), the path of the file "
            "or its s3:// URI"
        )
    file = read_published(URL_INCEPTION_V3, INCEPTION_SHA256) if weights == "published" else read(weights)
    if file.sha256 == INCEPTION_UPTO_7A_SHA256 and layer == "2048":
        raise ExtractorError(
            f"{file.origin}: ends at Mixed_7a, before layer 2048; choose layer 64, 192 or 768, or bring the published file "
            f"({URL_INCEPTION_V3})"
        )
    if file.sha256 not in (INCEPTION_SHA256, INCEPTION_UPTO_7A_SHA256):
        raise ExtractorError(
            f"{file.origin}: sha256 is {file.sha256}, not {INCEPTION_SHA256} of the published weights, nor "
            f"{INCEPTION_UPTO_7A_SHA256} of those up to Mixed_7a; replace it"
        )
    state, sha256 = tensors(file), file.sha256
    del file  # 100 MB that the copies to come need not lie beside
    extractor = inception(state, sha256, size, layer, device)
    del state
    _return_freed()
    return extractor


def inception(
    state: State, weights_hash: str, size: tuple[int, int], layer: str = "2048", device: torch.device | str = "cpu"
) -> Extractor:
    """The features of `layer` with the weights `state`, which may lack what comes after the layer."""
    network = _Inception(layer)
    network.take(state)
    for part in network.children():
        fold_batch_norms(part)
        _return_freed()
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, BasicConv2d):
                setattr(part, name, _Rectified(child.conv))
    resize = f"{pixels(size)} to {SIDE} px, bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing), (x - 128) / 128"
    return Extractor(
        "inception", network, lambda images: images, int(layer), weights_hash, resize, size,
        chunk=4 if torch.device(device).type == "cpu" else 64, device=device, layer=layer,
        head=(state["fc.weight"].numpy(), None) if layer == "2048" else None,
        is_fid=layer == "2048" and weights_hash == INCEPTION_SHA256,
    )  # fmt: skip


def _return_freed() -> None:
    """Gives freed memory back to the system: glibc keeps it for this thread, 200 MB that those of the passes cannot use."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


class _Inception(FeatureExtractorInceptionV3):
    """torch-fidelity's network up to a layer, given verified tensors instead of a file that it would unpickle."""

    def __init__(self, layer: str) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        with torch.device("meta"):  # no memory and no random numbers for values that are replaced
            super().__init__("inception", [layer], feature_extractor_weights_path=nothing)
        parts = [name for name, _ in self.named_children()]
        for name in parts[parts.index(LAYERS[layer]) :]:
            delattr(self, name)

    def load_state_dict(self, state_dict: State, strict: bool = True, assign: bool = False) -> None:  # type: ignore[override]
        """The constructor calls it, with the nothing that stands for a file."""

    def take(self, state: State) -> None:
        """Sets every weight of the parts there are."""
        parts = {name for name, _ in self.named_children()}
        known = {key: value for key, value in state.items() if key.partition(".")[0] in parts}
        super().load_state_dict(known, strict=True, assign=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 or float32 [N,3,H,W] in 0 … 255 -> features [N, dim]."""
        maps = resized((images.float() - 128) / 128).contiguous(memory_format=torch.channels_last)
        for part in self.children():
            maps = part(maps)
        return nn.functional.adaptive_avg_pool2d(maps, 1).flatten(1)


class _Rectified(nn.Module):
    """A convolution and the ReLU after it: on the CPU one step of oneDNN, which saves a tenth of the network's time."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        one = self.convolution
        if FUSED and maps.device.type == "cpu":
            how = (one.padding, one.stride, one.dilation, one.groups)
            return torch.ops.mkldnn._convolution_pointwise(maps, one.weight, one.bias, *how, "relu", [], "")
        return nn.functional.relu(one(maps), inplace=True)


def resized(images: torch.Tensor) -> torch.Tensor:
    """float32 [N,C,H,W] -> [N,C,299,299], bilinear as TensorFlow 1: output i lies at i * size / 299, without half-pixel centres.

    One axis after the other, the one first that leaves less to do.
    """
    for axis in (2, 3) if images.shape[2] > SIDE else (3, 2):
        size = images.shape[axis]
        at = torch.arange(SIDE, dtype=torch.float32, device=images.device) * (size / SIDE)
        low = at.long()
        low_values, high_values = (images.index_select(axis, rows) for rows in (low, (low + 1).clamp_max(size - 1)))
        images = torch.lerp(low_values, high_values, (at - low).unsqueeze(-1) if axis == 2 else at - low)
    return images
