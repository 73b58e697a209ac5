"""Examples of a probe that a test chooses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import Tensor

from atelier.tasks.base import Batch


class Given:
    """The first of these images for training, again and again, and those that are held out."""

    def __init__(self, real: Tensor, held_out: Tensor | None) -> None:
        self.real, self.kept = real, held_out

    def training(self, count: int) -> Iterator[Batch]:
        yield from itertools.repeat({"image": self.real[:count]})

    def held_out(self, count: int) -> Batch | None:
        return None if self.kept is None else {"image": self.kept[:count]}
