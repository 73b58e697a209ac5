"""Numbers of a training between two points of its curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Meter:
    """Means of scalars between two points of the curves, kept on the device so that a step never waits for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, stats: dict[str, Tensor]) -> None:
        """Adds one observation of each scalar."""
        for name, value in stats.items():
            self._sums[name] = self._sums[name] + value.double() if name in self._sums else value.double()
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each scalar since the last reset."""
        return {name: (total / self._counts[name]).item() for name, total in self._sums.items()}

    def reset(self) -> None:
        """Forgets everything."""
        self._sums.clear()
        self._counts.clear()

    def state(self) -> dict[str, Any]:
        """Exact sums and counts, as JSON values."""
        return {name: [total.item(), self._counts[name]] for name, total in self._sums.items()}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """The counterpart of `state`."""
        self._sums = {name: torch.tensor(v[0], dtype=torch.float64, device=device) for name, v in state.items()}
        self._counts = {name: int(v[1]) for name, v in state.items()}


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients of these parameters."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
