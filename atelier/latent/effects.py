"""What a direction does to images, and directions as a file that `edit` reads.

The effect of a direction is measured at fresh points, moved by 3 to either side: how much each attribute changes, and how much
of an image stays, as a perceptual distance relative to that of two unrelated images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from torch import Tensor

from atelier.config.section import first_problem
from atelier.extractors.perceptual import Perception, distance
from atelier.io.files import canonical_json, read_json
from atelier.latent.attributes import measured
from atelier.latent.directions import Direction
from atelier.latent.edits import Points, synthesized
from atelier.latent.space import Space
from atelier.models.model import GeneratorError, from_uint8

REACH = 3  # standard deviations to either side, as GANSpace's and SeFa's pictures show
CHUNK = 32  # images that are perceived at once

Classify = Callable[[np.ndarray], np.ndarray]
"""Images uint8 [N, C, H, W] to their classes, int64 [N]."""


class Effect(BaseModel):
    """A direction [dim] and what it was measured to do. One that was found without labels has the sign by which that grows.

    `changes` are those of each attribute for a step of 1, in its own standard deviations over images; `purity` is the largest
    share that one attribute has of all of them. `monotone` is the share of images in which the strongest attribute goes one way
    on both sides. `distance` is the perceptual distance at 3 relative to that of unrelated images, 0 for no change and 1 for
    another image; `class_kept` the share that a classifier reads as before, None without one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    method: str
    explained: FiniteFloat
    changes: dict[str, FiniteFloat]
    purity: FiniteFloat
    monotone: FiniteFloat
    distance: FiniteFloat
    class_kept: FiniteFloat | None
    vector: list[FiniteFloat]


class Directions(BaseModel):
    """directions.json: the directions of a generator, by the sha256 of its weights, in z or in w."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    weights: str
    space: Literal["z", "w"]
    reach: int = REACH
    perceived_by: str
    directions: list[Effect]

    def named(self, name: str) -> Tensor:
        """The vector of a direction. Raises GeneratorError naming those there are."""
        for one in self.directions:
            if one.name == name:
                return torch.tensor(one.vector)
        raise GeneratorError(f"no direction is called {name}; there are {', '.join(one.name for one in self.directions)}")


@dataclass(frozen=True)
class Stage:
    """The points at which directions are tried, with what looks at their images; `classify` where a classifier is known."""

    space: Space
    of: Points
    perceive: Perception
    classify: Classify | None

    def images(self, direction: Tensor, step: float) -> np.ndarray:
        """uint8 [N, C, H, W] of the points moved by a step."""
        where = self.space.points(self.of)
        return moved(self.space, where, self.of.labels, step * direction.to(where.device))

    def effects(self, found: Sequence[Direction]) -> list[Effect]:
        """What each direction does. Names are the attribute that it was fitted to, or the one that changes most."""
        before = self.images(torch.zeros_like(found[0].vector), 0)
        spread = {name: max(float(values.std()), 1e-9) for name, values in measured(before).items()}
        unrelated = self._apart(before, np.roll(before, 1, axis=0))
        effects: list[Effect] = []
        for one in found:
            effect = self._effect(one, before, spread, unrelated)
            known = sum(other.name.rpartition("-")[0] == effect.name or other.name == effect.name for other in effects)
            effects.append(effect.model_copy(update={"name": f"{effect.name}-{known + 1}" if known else effect.name}))
        return effects

    def _effect(self, one: Direction, before: np.ndarray, spread: dict[str, float], unrelated: float) -> Effect:
        down, up = self.images(one.vector, -REACH), self.images(one.vector, REACH)
        start, low, high = measured(before), measured(down), measured(up)
        changes = {name: float((high[name] - low[name]).mean()) / (2 * REACH * spread[name]) for name in spread}
        strongest = max(changes, key=lambda name: abs(changes[name]))
        sign = float(np.sign(changes[strongest])) or 1.0
        turned = 1.0 if one.attribute else sign
        rises = (sign * (high[strongest] - start[strongest]) > 0) & (sign * (start[strongest] - low[strongest]) > 0)
        kept = None
        if self.classify:
            own = self.classify(before)
            kept = float(np.mean([(self.classify(side) == own).mean() for side in (down, up)]))
        return Effect(
            name=one.attribute or strongest,
            method=one.method,
            explained=one.explained,
            changes={name: turned * change for name, change in changes.items()},
            purity=abs(changes[strongest]) / max(sum(map(abs, changes.values())), 1e-12),
            monotone=float(rises.mean()),
            distance=(self._apart(before, down) + self._apart(before, up)) / (2 * unrelated) if unrelated else 0.0,
            class_kept=kept,
            vector=(turned * one.vector).tolist(),
        )

    @torch.inference_mode()
    def _apart(self, one: np.ndarray, other: np.ndarray) -> float:
        """The mean perceptual distance of images that correspond."""
        device = next(self.space.generator.parameters()).device
        total = 0.0
        for start in range(0, len(one), CHUNK):
            sides = (from_uint8(torch.from_numpy(images[start : start + CHUNK]).to(device)) for images in (one, other))
            total += float(distance(*(self.perceive(side) for side in sides)).sum())
        return total / len(one)


def moved(space: Space, where: Tensor, labels: Tensor | None, by: Tensor, parts: slice | None = None) -> np.ndarray:
    """uint8 [N, C, H, W] of points [N, dim] moved by [dim]; with `parts` these of a code alone are."""
    with torch.inference_mode():
        codes = space.codes(space.moved(where, by), labels)
        if parts is not None:
            before = space.codes(where, labels).clone()
            before[:, parts] = codes[:, parts]
            codes = before
    return synthesized(space.generator, codes, labels)


def written(space: Space, effects: list[Effect], perceived_by: str) -> str:
    """directions.json."""
    name: Any = space.name
    known = Directions(weights=space.generator.sha256, space=name, perceived_by=perceived_by, directions=effects)
    return canonical_json(known.model_dump(mode="json"))


def read(path: Path, space: Space) -> Directions:
    """directions.json of this generator. Raises GeneratorError."""
    try:
        found = Directions.model_validate(read_json(path))
    except ValidationError as error:
        raise GeneratorError(
            f"{path}: no directions ({first_problem(error)}); give what the verb directions has written"
        ) from error
    except (OSError, ValueError) as error:
        raise GeneratorError(f"{path}: cannot be read ({error}); give the directions.json of the verb directions") from error
    if found.weights != space.generator.sha256:
        raise GeneratorError(f"{path}: directions of another generator, whose weights are {found.weights}; find this one's")
    return found
