"""Tiny runs of task restoration: their settings, and the task itself without packed images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atelier.config.settings import Settings
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch
from atelier.tasks.restoration.task import Restoration
from tests.support.driver import tiny
from tests.support.translation_tasks import COMMON

SIDE, SCALE, COUNT = 32, 2, 4
NARROW = "{width: 4, blocks: 1, width_discriminator: 4, layers_discriminator: 2, norm_discriminator: none}"
NOISY = "degradations: {order: [blur, bicubic, noise], noise: {gaussian: [1, 20]}}"
BASE = ["model.task=restoration", "model.architecture=srresnet", f"model.srresnet={NARROW}", *COMMON]


def _section(values: str) -> list[str]:
    return [f"{training}.restoration={{scale: {SCALE}, {values}}}" for training in ("train", "finetune")]


STAGES = {
    "psnr": [*BASE, *_section(NOISY)],
    "gan": [
        *(*BASE, *_section(f"{NOISY}, pixel: 0.5, adversarial: 0.1")),
        *(f"{training}.objective=relativistic_average" for training in ("train", "finetune")),
    ],
}


def chosen(name: str, *overrides: str) -> Settings:
    """The settings of one of STAGES."""
    return tiny(*STAGES[name], *overrides)


def built(name: str, *overrides: str, section: str = "train", side: int = SIDE, channels: int = 3) -> Restoration:
    """The task by one of its trainings, the same networks each time."""
    settings = chosen(name, *overrides)
    torch.manual_seed(0)
    return Restoration(settings.model, settings.trainings[section], ImageShape(side, channels, 0), channels)


def records(seed: int, count: int = COUNT, dtype: torch.dtype = torch.float64, side: int = SIDE) -> Batch:
    """Clean pictures that vary slowly, so that something is left of them when they are small."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=rng, dtype=dtype) * 2 - 1
    return {"image": torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)}


def keys(x: np.ndarray) -> np.ndarray:
    """Keys 1981, eq. 15 (a = -1/2)."""
    x = np.abs(x)
    return np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


def shrinking(side: int, scale: int) -> np.ndarray:
    """The matrix float64 [side // scale, side] that shrinks a column as MATLAB does: a widened kernel, borders mirrored."""
    matrix = np.zeros((side // scale, side))
    for row in range(side // scale):
        center = (row + 0.5) * scale - 0.5
        reached = np.arange(int(np.floor(center - 2 * scale)), int(np.ceil(center + 2 * scale)) + 1)
        weights = keys((reached - center) / scale)
        for place, weight in zip(reached, weights / weights.sum(), strict=True):
            inside = place % (2 * side)
            matrix[row, min(inside, 2 * side - 1 - inside)] += weight
    return matrix


def bicubic(images: Tensor, scale: int = SCALE) -> Tensor:
    """Images float64 in [-1, 1] shrunk and held by a file of 8 bits."""
    matrix = shrinking(images.shape[2], scale)
    small = matrix @ ((images.numpy() + 1) / 2) @ matrix.T
    return torch.from_numpy(np.round(np.clip(small, 0, 1) * 255) / 127.5 - 1)
