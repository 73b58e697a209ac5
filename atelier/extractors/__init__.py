"""Networks whose features are compared, by name; each is imported when it is asked for, since some take seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.extractors.errors import ExtractorError

if TYPE_CHECKING:  # those of texts (sentences.py) need no PyTorch
    import torch

    from atelier.extractors.base import Extractor

__all__ = ["ExtractorError", "load_extractor"]


def load_extractor(
    name: str, weights: str, size: tuple[int, int], device: torch.device | str = "cpu", layer: str = "default"
) -> Extractor:
    """The extractor `name` with `weights` for images of `size` (height, width) px.

    | name | weights | layer |
    |---|---|---|
    | efficientnet_lite0 | packaged | default |
    | inception | published, a file, an s3:// URI | 64, 192, 768, 2048 (default) |
    | dinov2 | a file, an s3:// URI | default |
    | onnx | a file, an s3:// URI | default |

    PyTorch's random state is left as it was. Raises ExtractorError for a combination that does not exist, and for weights that
    are missing or are not those that the network is known by; StorageAway where an S3 store cannot be reached.
    """
    if layer != "default" and name != "inception":
        raise ExtractorError(f"evaluate.layer (--layer): {layer} is one of inception's, and the extractor is {name}; set default")
    if name == "efficientnet_lite0":
        from atelier.extractors.lite0 import load_lite0

        return load_lite0(weights, size, device)
    if name == "inception":
        from atelier.extractors.inception import load_inception

        return load_inception(weights, size, device, layer)
    if name == "dinov2":
        from atelier.extractors.dinov2 import load_dinov2

        return load_dinov2(weights, size, device)
    if name == "onnx":
        from atelier.extractors.onnx import load_onnx

        return load_onnx(weights, size, device)
    raise ExtractorError(
        f"evaluate.extractor (--extractor): {name} is not known; choose efficientnet_lite0, inception, dinov2 or onnx"
    )
