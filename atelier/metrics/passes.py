"""Forward passes whose results do not depend on how images were cut into batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def in_chunks(forward: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, chunk: int, width: int) -> np.ndarray:
    """`forward` of uint8 [N,C,H,W] -> float32 [N, width], in passes of exactly `chunk` images.

    The last pass is filled up with black images. A kernel is chosen by the shape of a batch, so with one shape only an
    image's result is the same, to the bit, whatever came with it. Nothing is recorded for gradients.
    """
    out = np.empty((len(images), width), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), chunk):
            part = images[start : start + chunk]
            filled = np.zeros((chunk, *images.shape[1:]), dtype=np.uint8)
            filled[: len(part)] = part
            out[start : start + len(part)] = forward(torch.from_numpy(filled)).float().cpu().numpy()[: len(part)]
    return out
