"""Images that a generator makes of records whose text or sound it is told: of one alone, of both, and of a mismatched pair."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from atelier.data.packed import PackedDataset
from atelier.data.sampler import positions
from atelier.metrics.identity import MetricError
from atelier.models.model import generate
from atelier.networks.base import Generator
from atelier.tasks.told import optional, told

TEXT, SOUND = "text", "sound"  # kinds of inputs
BOTH = "both"


class ToldImages:
    """Images of `count` records, in an order that the seed decides: the records and noise of all calls are the same.

    `kinds` are those of the inputs that may be left out.
    """

    def __init__(self, generator: Generator, records: PackedDataset, count: int, seed: int, batch: int) -> None:
        self.generator, self.records, self.batch = generator, records, batch
        self.names = {kind.kind: name for name, kind in optional(generator.takes).items()}
        self.kinds = set(self.names)
        self.rows = positions(seed, len(records), 0, count)
        self.inputs = told(generator.takes, records, self.rows, seed)
        self.identity = f"{records.content_hash}:{records.split}, drawn by the seed"

    @property
    def subsets(self) -> dict[str, set[str]]:
        """The kinds that may be told together, by what that is called: each alone and, where there are two, both."""
        alone = {kind: {kind} for kind in (TEXT, SOUND) if kind in self.kinds}
        return alone | ({BOTH: self.kinds} if len(alone) > 1 else {})

    def of(self, kinds: Collection[str], others: np.ndarray | None = None) -> np.ndarray:
        """uint8 [count, C, H, W] of the inputs of these kinds alone; the sounds are those of the records at `others` instead."""
        given = {name: values for name, values in self.inputs.items() if name not in self.names.values()}
        given |= {self.names[kind]: self.inputs[self.names[kind]] for kind in kinds}
        if others is not None:
            given[self.names[SOUND]] = self.inputs[self.names[SOUND]][others]
        return np.concatenate(list(generate(self.generator, given, self.batch)))


def strangers(count: int, differ: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """For each of `count` places the next one, around the end, that says something else: int64 [count].

    `differ` says of two int64 [n] of places, bool [n], which pairs do. Raises MetricError where all say the same.
    """
    places, found = np.arange(count), np.full(count, -1)
    for step in range(1, count):
        other = (places + step) % count
        found = np.where((found < 0) & differ(places, other), other, found)
        if (found >= 0).all():
            return found
    raise MetricError("evaluate.metrics: a mismatched pair needs records of two classes or texts; raise evaluate.samples")
