"""The Inception network that FID is defined on (Szegedy et al. 2015; Heusel et al. 2017), for the weights of 2015-12-05.

The network is that of the graph which TensorFlow published, as torch-fidelity ports it: features equal its. Those after four
layers can be compared, as pytorch-fid offers them. Only a distance between the 2048 last ones, with the published weights, is
called FID. pytorch-fid publishes the same weights under another name.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from atelier.extractors.base import Extractor, pixels
from atelier.extractors.errors import ExtractorError
from atelier.extractors.passes import return_freed
from atelier.extractors.tensors import State, tensors
from atelier.extractors.weights import SETTING, read, read_published

URL_INCEPTION_V3 = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_UPTO_7A_SHA256 = "10b44545fc3110168064df7f8fa2d92e98bdd0549c37a35a420dda2e3fa263b6"
LAYERS = ("64", "192", "768", "2048")
SIDE = 299
NORM_EPSILON = 0.001
CHUNK = 2  # on the CPU; with 4 it is as fast and takes 110 MB more
FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


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
    del file  # 100 MB that the folded weights need not lie beside
    extractor = inception(state, sha256, size, layer, device)
    del state
    return_freed()
    return extractor


def inception(
    state: State, weights_hash: str, size: tuple[int, int], layer: str = "2048", device: torch.device | str = "cpu"
) -> Extractor:
    """The features of `layer` with the weights `state`, which may lack what comes after the layer."""
    resize = f"{pixels(size)} to {SIDE} px, bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing), (x - 128) / 128"
    return Extractor(
        "inception", _network(state, layer), lambda images: resized((images.float() - 128) / 128), int(layer), weights_hash,
        resize, size, chunk=CHUNK if torch.device(device).type == "cpu" else 64, device=device, layer=layer,
        head=(state["fc.weight"].numpy(), None) if layer == "2048" else None,
        is_fid=layer == "2048" and weights_hash == INCEPTION_SHA256,
    )  # fmt: skip


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


def _network(state: State, layer: str) -> nn.Module:
    """[N,3,299,299] in -1 ... 1 -> the spatial means [N, int(layer)] of the layer's maps."""
    parts: list[nn.Module] = []
    for end, part in _parts(state):
        parts.append(part)
        if end == layer:
            break
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _parts(state: State) -> Iterator[tuple[str, nn.Module]]:
    """The parts from the image on, each with the layer that ends with it, or ""."""

    def chain(block: str, *names: str, stride: int = 1) -> nn.Module:
        """Convolutions, the last with `stride`; those of stride 1 keep the maps' size."""
        strides = [1] * (len(names) - 1) + [stride]
        return nn.Sequential(
            *(_Convolution(state, f"{block}.{name}", step, step == 1) for name, step in zip(names, strides, strict=True))
        )

    def steps(block: str, branch: str, count: int, stride: int = 1) -> nn.Module:
        return chain(block, *(f"{branch}_{number}" for number in range(1, count + 1)), stride=stride)

    def pooled(block: str, pool: nn.Module) -> nn.Module:
        return nn.Sequential(pool, chain(block, "branch_pool"))

    def forked(block: str, branch: str, count: int) -> nn.Module:
        """Steps, the last of which is two side by side."""
        fork = _Side(chain(block, f"{branch}_{count}a"), chain(block, f"{branch}_{count}b"))
        return nn.Sequential(steps(block, branch, count - 1), fork)

    mean = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    halved = nn.MaxPool2d(3, stride=2)
    yield "", _Convolution(state, "Conv2d_1a_3x3", stride=2, padded=False)
    yield "", _Convolution(state, "Conv2d_2a_3x3", padded=False)
    yield "", _Convolution(state, "Conv2d_2b_3x3")
    yield "64", halved
    yield "", _Convolution(state, "Conv2d_3b_1x1")
    yield "", _Convolution(state, "Conv2d_4a_3x3", padded=False)
    yield "192", halved
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        five, three = steps(block, "branch5x5", 2), steps(block, "branch3x3dbl", 3)
        yield "", _Side(chain(block, "branch1x1"), five, three, pooled(block, mean))
    block = "Mixed_6a"
    yield "", _Side(chain(block, "branch3x3", stride=2), steps(block, "branch3x3dbl", 3, stride=2), halved)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        seven, twice = steps(block, "branch7x7", 3), steps(block, "branch7x7dbl", 5)
        yield "768" if block == "Mixed_6e" else "", _Side(chain(block, "branch1x1"), seven, twice, pooled(block, mean))
    block = "Mixed_7a"
    yield "", _Side(steps(block, "branch3x3", 2, stride=2), steps(block, "branch7x7x3", 4, stride=2), halved)
    # The published graph pools by the largest in its last block, unlike the paper.
    for block, pool in (("Mixed_7b", mean), ("Mixed_7c", nn.MaxPool2d(3, stride=1, padding=1))):
        three, twice = forked(block, "branch3x3", 2), forked(block, "branch3x3dbl", 3)
        yield "2048" if block == "Mixed_7c" else "", _Side(chain(block, "branch1x1"), three, twice, pooled(block, pool))


class _Convolution(nn.Module):
    """A convolution, its batch norm folded into it in float64, and ReLU: on the CPU one step of oneDNN, which saves a tenth
    of the network's time.
    """

    def __init__(self, state: State, name: str, stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        norm = {part: state[f"{name}.bn.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")}
        scale = norm["weight"] / (norm["running_var"] + NORM_EPSILON).sqrt()
        weight = (state[f"{name}.conv.weight"].double() * scale[:, None, None, None]).float()
        bias = (norm["bias"] - norm["running_mean"] * scale).float()
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.stride = (stride, stride)
        self.padding = tuple(side // 2 for side in weight.shape[2:]) if padded else (0, 0)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if FUSED and maps.device.type == "cpu":
            how = (self.padding, self.stride, (1, 1), 1)
            return torch.ops.mkldnn._convolution_pointwise(maps, self.weight, self.bias, *how, "relu", [], "")
        return nn.functional.relu(nn.functional.conv2d(maps, self.weight, self.bias, self.stride, self.padding), inplace=True)


class _Side(nn.ModuleList):
    """Branches side by side: their channels one after the other."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__(branches)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(maps) for branch in self], 1)
