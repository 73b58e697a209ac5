"""A run of the zoo, as its page tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from atelier.metrics.evaluator import Evaluation


@dataclass(frozen=True)
class Trained:
    """One run: its family and seed, its checkpoint, what it measured and the seconds that it took, as `zoo.speed` counts."""

    family: str
    seed: int
    folder: Path
    evaluation: Evaluation
    images: int
    seconds: float
    generator_parameters: int
    discriminator_parameters: int

    @property
    def images_per_second(self) -> float:
        """Over the whole run, measurements included."""
        return self.images / self.seconds
