"""A network as a function from uint8 images to features: the same feature for an image, whatever comes with it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atelier.extractors.errors import ExtractorError
from atelier.extractors.passes import in_chunks

Head = tuple[np.ndarray, np.ndarray | None]


class Extractor:
    """A network as a function from uint8 images to features.

    `dim` is the width of a feature, `layer` where in the network it is taken ("default": where the network ends), `weights_hash`
    the sha256 of the weights file, `resize` how an image reaches the network, `size` the (height, width) in pixels of the images
    it takes, `chunk` the images of a forward pass. `is_fid` is True where a Fréchet distance between these features may be called
    FID. `head` makes logits of features where the network is a classifier, else it is None: weight float32 [classes, dim] and
    bias float32 [classes], or None where the score that is defined on the logits leaves the bias out.
    """

    def __init__(
        self, name: str, network: nn.Module, prepare: Callable[[torch.Tensor], torch.Tensor], dim: int, weights_hash: str,
        resize: str, size: tuple[int, int], chunk: int, device: torch.device | str = "cpu", *, layer: str = "default",
        head: Head | None = None, is_fid: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.dim, self.layer, self.weights_hash = name, dim, layer, weights_hash
        self.resize, self.size, self.chunk = resize, size, chunk
        self.head, self.is_fid = head, is_fid
        self.device = torch.device(device)
        self._prepare = prepare
        self._network = network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N,C,H,W] with C 1 or 3 -> float32 [N, dim]. Gray is repeated to RGB.

        A feature does not depend on the images that came with it (see in_chunks). Arithmetic is float32 without TF32:
        bfloat16 costs 1e-3 of the distance. Raises ExtractorError.
        """
        return self._look(images, np.uint8)

    def of_floats(self, images: np.ndarray) -> np.ndarray:
        """`features` of images float32 [N,C,H,W] in 0 … 255 that were not rounded: for differences smaller than a gray level."""
        return self._look(images, np.float32)

    def _look(self, images: np.ndarray, kind: type) -> np.ndarray:
        if images.dtype != kind or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ExtractorError(f"images are {images.dtype} {images.shape}; expected {kind.__name__} [N, 1 or 3, H, W]")
        if images.shape[2:] != self.size:
            raise ExtractorError(
                f"images have {pixels(images.shape[2:])} px, height x width; this extractor was loaded for {pixels(self.size)} px"
            )
        with _full_precision():
            return in_chunks(self._forward, images, self.chunk, self.dim, parallel=self.device.type == "cpu")

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        prepared = self._prepare(images.to(self.device)).expand(-1, 3, -1, -1)
        return self._network(prepared.contiguous(memory_format=torch.channels_last))


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """float32 is float32, in convolutions and in matrix products; what was set before is set again."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def pixels(size: tuple[int, ...]) -> str:
    """Height and width as "28" where they are equal, else as "28x40"."""
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def bicubic(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[N,C,H,W] in 0 … 255 -> float32 [N,C,*size] in 0 … 255, by the cubic kernel with a = -0.5, with antialiasing."""
    return nn.functional.interpolate(images.float(), size=size, mode="bicubic", antialias=True).clamp(0, 255)


def fold_batch_norms(network: nn.Module) -> None:
    """Folds each batch norm that follows a convolution in its parent into that convolution, in float64; keeps its activation."""
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, convolution), (after, norm) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                folded = fuse_conv_bn_eval(convolution.eval().double(), norm.eval().double())
                setattr(parent, name, folded.float())
                setattr(parent, after, getattr(norm, "act", nn.Identity()))
