"""Weights of two runs that should differ by rounding alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def apart(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> float:
    """The share of the weights by which two runs differ more than by rounding, which Adam's first steps make large of nothing."""
    assert one.keys() == two.keys()
    differ = [((two[name] - tensor).abs() > 2e-4 + 2e-3 * tensor.abs()).flatten() for name, tensor in one.items()]
    return torch.cat(differ).float().mean().item()
