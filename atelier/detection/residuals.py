"""How neighboring values differ: the traces by which steganalysis finds what was written into images, and which generators leave.

Co-occurrences of three neighboring differences (Pevny, Bas and Fridrich 2010, SPAM; of values for generated images, Nataraj et
al. 2019), at two steps of quantization as in rich models (Fridrich and Kodovsky 2012); and how much lies near black and white.
"""

from __future__ import annotations

import numpy as np

STEPS = (1, 4)  # levels of which differences are multiples
REACH = 2  # steps at which differences end, on both sides
NEAR = (0, 1, 2, 3, 5, 8, 12, 20)  # levels from black and from white
SIDE = 2 * REACH + 1


def residuals(images: np.ndarray) -> np.ndarray:
    """Square roots (Hellinger) of shares, float32 [N, 516], of images uint8 [N, C, H, W], whose channels count alike."""
    values = images.astype(np.int16)
    ends = [images <= level for level in NEAR] + [images >= 255 - level for level in NEAR]
    near = [one.mean(axis=(1, 2, 3)) for one in ends]
    across, down = values[..., 1:] - values[..., :-1], np.swapaxes(values[..., 1:, :] - values[..., :-1, :], 2, 3)
    shares = [_triples(differences, step) for step in STEPS for differences in (across, down)]
    return np.sqrt(np.concatenate([np.stack(near, axis=1), *shares], axis=1)).astype(np.float32)


def _triples(differences: np.ndarray, step: int) -> np.ndarray:
    """Shares of the 125 triples of neighbors along the last axis, float64 [N, 125]."""
    levels = np.clip(np.rint(differences / step).astype(np.int64), -REACH, REACH) + REACH
    codes = (levels[..., :-2] * SIDE + levels[..., 1:-1]) * SIDE + levels[..., 2:]
    rows = codes.reshape(len(codes), -1)
    return np.stack([np.bincount(row, minlength=SIDE**3) for row in rows]) / rows.shape[1]
