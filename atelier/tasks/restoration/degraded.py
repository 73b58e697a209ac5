"""Degraded pictures as a generator is given them: in 8 bits, like a file that holds one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atelier.tasks.restoration.degradations.chain import Chain
from atelier.tasks.restoration.settings import Settings


def chain_of(settings: Settings) -> Chain | None:
    """The degradations of the settings, None where records hold degraded pictures."""
    return None if settings.degradations.pairs else Chain(settings.degradations, settings.scale)


@torch.no_grad()
def degraded(chain: Chain, clean: Tensor, draws: Any) -> Tensor:
    """Pictures [N, C, H, W] in [-1, 1] -> [N, C, H // scale, W // scale] in [-1, 1], at the levels of 8 bits."""
    levels = chain.apply((clean + 1) / 2, draws) * 255
    return levels.round().to(clean.dtype) / 127.5 - 1  # as of a file that holds them
