"""What is watched during the duel, and when it is stopped: divergence and collapse."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from atelier.errors import AtelierError


class TrainingStopped(AtelierError):
    """The run diverged or collapsed; the message says where its best checkpoint is."""


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


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network."""
    return torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])


class Watch:
    """Stops a run that diverged or collapsed.

    Divergence: a loss or gradient norm that is not finite, or a norm above `max_grad_norm` in the mean between two points.
    Collapse: diversity relative to real images under `min_diversity`, judged from `armed_from` images on (an untrained
    generator has none yet).
    """

    def __init__(self, max_grad_norm: float, min_diversity: float, armed_from: int) -> None:
        self.max_grad_norm, self.min_diversity, self.armed_from = max_grad_norm, min_diversity, armed_from

    def check(self, point: dict[str, float]) -> str | None:
        """Why the run must stop, or None. `point` holds the curves' names and `images`."""
        for name, value in point.items():
            if not math.isfinite(value):
                return f"diverged: {name} is {value} at {point['images']:.0f} images; lower the learning rates or raise r1"
            if name.startswith("grad_norm") and value > self.max_grad_norm:
                return (
                    f"diverged: {name} is {value:.3g} at {point['images']:.0f} images, above max_grad_norm "
                    f"{self.max_grad_norm:g}; lower the learning rates or raise r1"
                )
        if point["images"] >= self.armed_from and point["diversity"] < self.min_diversity:
            return (
                f"collapsed: the diversity of a fixed batch is {point['diversity']:.3f} of real images' at "
                f"{point['images']:.0f} images, under min_diversity {self.min_diversity:g}; raise r1 and r2, lower the learning "
                "rates, or use augment: ada"
            )
        return None
