"""The state of a training in plain words, read from its curves.

Who is ahead is a share of pairs (tasks/adversarial.py), which means the same for every objective and every scale of
logits: 0.5 is the equilibrium of Goodfellow et al. 2014 (proposition 1), 1 a critic that cannot be fooled. That a critic tells
training images from held-out ones is what Karras et al. 2020 (ADA, section 3) call its overfitting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATEST = 0.1  # share of the run that a remark is about
WON, LEVEL, BEHIND = 0.99, 0.6, 0.4  # separation above which the critic has won; to which the two are level, and down to which
MEMORISED, MEMORISING, STRANGE = 0.8, 0.65, 0.35  # overfitting; the last is its opposite, by as far from chance
UNIFORM, SCATTERED = 0.5, 1.35  # diversity under which images vary too little, above which more than real ones do
FEW_KINDS = 0.4  # kinds under which some are missing
MORE_VARIETY = "raise r1 and r2, lower the learning rates, or use augment: ada"


@dataclass(frozen=True)
class Remark:
    """A sentence on one side of a training (`about`: balance, memory, variety, reach); `warns` if something should be done."""

    about: str
    text: str
    warns: bool = False


def remarks(points: Sequence[dict[str, float]]) -> list[Remark]:
    """What the last tenth of the curves says; nothing of what they do not have."""
    readers = {"separation": _balance, "overfitting": _memory, "diversity": _variety, "kinds": _reach}
    return [say(value) for name, say in readers.items() if (value := latest(points, name)) is not None]


def latest(points: Sequence[dict[str, float]], name: str, share: float = LATEST) -> float | None:
    """Mean of a curve over the last tenth (or that share) of the run so far; None where it has no finite value there."""
    since = (1 - share) * points[-1]["images"] if points else 0.0
    values = [point[name] for point in points if point["images"] >= since and name in point and math.isfinite(point[name])]
    return sum(values) / len(values) if values else None


def in_hundred(share: float) -> str:
    """0.834 as "83 of 100"."""
    return f"{100 * share:.0f} of 100"


def _balance(share: float) -> Remark:
    told = f"it tells a real image from a generated one in {in_hundred(share)} pairs (50 is chance)"
    if share > WON:
        remedy = "raise r1 and r2 (or another penalty), lower lr_discriminator, or raise lr_generator"
        return Remark("balance", f"The critic has won: {told}, and the generator learns little from it; {remedy}.", warns=True)
    if share < BEHIND:
        remedy = "raise lr_discriminator (or critic_steps), lower r1 and r2, or lower lr_generator"
        return Remark("balance", f"The critic is behind and mostly wrong: {told}; {remedy}.", warns=True)
    if share < LEVEL:
        return Remark("balance", f"The two are level: the critic hardly sees a difference, {told}.")
    return Remark("balance", f"The critic is ahead, as it should be while there is something to learn: {told}.")


def _memory(share: float) -> Remark:
    told = f"it finds one more real than a held-out image in {in_hundred(share)} pairs (50 is chance)"
    if share > MEMORISED:
        remedy = "set augment: ada, add images, or stop earlier"
        return Remark("memory", f"The critic has memorised the training images: {told}; {remedy}.", warns=True)
    if share > MEMORISING:
        return Remark("memory", f"The critic begins to memorise the training images: {told}.")
    if share < STRANGE:
        remedy = "the held-out images may be of another kind, or too few"
        return Remark("memory", f"The critic finds held-out images the more real ones: {told}; {remedy}.", warns=True)
    return Remark("memory", f"The critic knows the training images no better than others: {told}.")


def _variety(share: float) -> Remark:
    told = f"those of a fixed batch differ {share:.0%} as much as real ones"
    if share < UNIFORM:
        return Remark("variety", f"The generator's images are too much alike: {told}; {MORE_VARIETY}.", warns=True)
    if share > SCATTERED:
        remedy = "as noise and saturated images do; lower the learning rates"
        return Remark("variety", f"The generator's images differ too much: {told}, {remedy}.", warns=True)
    return Remark("variety", f"The generator's images vary: {told}.")


def _reach(share: float) -> Remark:
    told = f"those of a fixed batch are of {share:.0%} as many as real ones"
    if share < FEW_KINDS:
        return Remark("reach", f"The generator leaves out kinds of images: {told}; {MORE_VARIETY}.", warns=True)
    return Remark("reach", f"The generator's images are of many kinds: {told}.")
