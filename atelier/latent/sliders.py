"""A few directions of a generator for people to turn: each named by the attribute of the image that it changes most.

Candidates are found without labels, by the closed form and by principal components (atelier.latent.directions), in the space of
latents also where a family has a mapping: a moved latent is a latent, which every generator of noise takes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from atelier.config.section import first_problem
from atelier.io.files import atomic_write, canonical_json, read_json
from atelier.latent.attributes import measured
from atelier.latent.directions import SAMPLES, Direction, drawn, pca, sefa
from atelier.latent.edits import Points
from atelier.latent.effects import REACH, moved
from atelier.latent.space import Space, space_of
from atelier.models.model import GeneratorError
from atelier.networks.base import LatentGenerator

COUNT = 5
CANDIDATES = 8  # of each method
TRIED, FEWEST = 48, 8  # images that a candidate moves
STEPS = np.linspace(-REACH, REACH, 5)
SIDE = 64  # up to which so many images are made; of larger ones fewer, so that they take the same time
ALIKE = 0.8  # cosine beyond which two directions are one
WEAKEST = 0.1  # correlation below which a direction changes nothing that is measured

Told = Callable[[float], None]
"""Hears which share of the work is done."""


class Slider(BaseModel):
    """A direction [latent_dim], a standard deviation long, with the sign by which the attribute grows that it is named by.

    `correlation` is that of the attribute with the step, over images that are moved from -3 to 3; `method` how it was found.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    attribute: str
    correlation: FiniteFloat
    method: str
    vector: list[FiniteFloat]


class Sliders(BaseModel):
    """The sliders of a generator, by the sha256 of its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1
    weights: str
    reach: int = REACH
    sliders: list[Slider]


def found(generator: LatentGenerator, told: Told = lambda share: None) -> Sliders:
    """At most five sliders, the strongest first, with different names as far as there are. Raises GeneratorError."""
    known = space_of(generator)
    space = Space(generator, mapped=False, tied=False, parts=known.parts)
    share = min(1.0, (SIDE / generator.shape.resolution) ** 2)
    candidates = _candidates(space, drawn(space, 0, None, max(int(SAMPLES * share), 2 * generator.latent_dim)))
    of = drawn(space, SAMPLES, None, max(int(TRIED * share), FEWEST))
    correlated = []
    for number, one in enumerate(candidates):
        correlated.append((one, correlations(space, of, one)))
        told((number + 1) / len(candidates))
    return Sliders(weights=generator.sha256, sliders=_chosen(correlated))


def correlations(space: Space, of: Points, direction: Direction) -> dict[str, float]:
    """Pearson's correlation of each attribute with the step, over all points and steps; 0 for an attribute that is constant."""
    where = space.points(of)
    by = direction.vector.to(where.device)
    values = [measured(moved(space, where, of.labels, float(step) * by)) for step in STEPS]
    steps = np.repeat(STEPS, len(where))
    steps = (steps - steps.mean()) / steps.std()
    result = {}
    for name in values[0]:
        value = np.concatenate([one[name] for one in values])
        spread = value.std()
        result[name] = float((steps * (value - value.mean())).mean() / spread) if spread > 1e-9 else 0.0
    return result


def _candidates(space: Space, of: Points) -> list[Direction]:
    try:
        closed = sefa(space, of, CANDIDATES)
    except GeneratorError:  # no layer sees the code
        closed = []
    return closed + pca(space, of, CANDIDATES)


def _chosen(correlated: list[tuple[Direction, dict[str, float]]]) -> list[Slider]:
    strongest = [(one, max(all_of.items(), key=lambda item: abs(item[1]))) for one, all_of in correlated]
    ranked = sorted(strongest, key=lambda item: -abs(item[1][1]))
    chosen: list[tuple[torch.Tensor, Slider]] = []
    for again in (False, True):  # other names first, then what changes the same in another way
        for one, (attribute, correlation) in ranked:
            unit = one.vector / one.vector.norm()
            same = sum(slider.attribute == attribute for _, slider in chosen)
            if len(chosen) == COUNT or abs(correlation) < WEAKEST or any(abs(float(unit @ other)) > ALIKE for other, _ in chosen):
                continue
            if same and not again:
                continue
            name = f"{attribute}-{same + 1}" if same else attribute
            vector = (float(np.sign(correlation)) * one.vector).tolist()
            slider = Slider(name=name, attribute=attribute, correlation=abs(correlation), method=one.method, vector=vector)
            chosen.append((unit, slider))
    return [slider for _, slider in chosen]


def kept(path: Path, generator: LatentGenerator, told: Told = lambda share: None) -> Sliders:
    """The sliders that a file holds, which is written where there is none. Raises GeneratorError."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, canonical_json(found(generator, told).model_dump(mode="json")))
    try:
        known = Sliders.model_validate(read_json(path))
    except (OSError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise GeneratorError(f"{path}: no sliders ({problem}); remove it, and they are found again") from error
    if known.weights != generator.sha256:
        raise GeneratorError(f"{path}: sliders of other weights; remove it, and they are found again")
    return known
