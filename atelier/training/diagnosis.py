"""The state of a training in plain words, read from its curves.

AUCs are shares of pairs (tasks/adversarial.py), which mean the same for every objective and every scale of logits. Of real and
generated images 0.5 is the equilibrium of Goodfellow et al. 2014 (proposition 1), 1 a discriminator that cannot be fooled. Of
training and held-out images an AUC above 0.5 is what Karras et al. 2020 (ADA, section 3) call the discriminator's overfitting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATEST = 0.1  # share of the run that a remark is about
WON, LEVEL, BEHIND = 0.99, 0.6, 0.4  # AUC of real and generated images: above, to, and under which the text says so
MEMORIZED, MEMORIZING, STRANGE = 0.8, 0.65, 0.35  # AUC of training and held-out images; the last is as far from 0.5, below
UNIFORM, SCATTERED = 0.5, 1.35  # diversity under which images vary too little, above which more than real ones do
INVERTED = 0.0  # correlation of the brightness of inputs and translations, below which colors are inverted
HIDDEN = 3.0  # gain of noise on the way back, above which a picture is hidden in its translation
FEW_MODES = 0.4  # mode coverage under which modes are missing
MORE_VARIETY = "raise r1 and r2, lower the learning rates, or use augment: ada"


@dataclass(frozen=True)
class Remark:
    """A sentence on one side of a training (`about`: balance, memory, variety, reach); `warns` if something should be done."""

    about: str
    text: str
    warns: bool = False


def remarks(points: Sequence[dict[str, float]]) -> list[Remark]:
    """Remarks on the last tenth of those curves that there are."""
    readers = {
        "auc_real_fake": _balance,
        "auc_train_heldout": _memory,
        "diversity": _variety,
        "mode_coverage": _reach,
        "brightness_kept": _colors,
        "noise_gain": _hidden,
    }
    return [say(value) for name, say in readers.items() if (value := latest(points, name)) is not None]


def latest(points: Sequence[dict[str, float]], name: str, share: float = LATEST) -> float | None:
    """Mean of a curve over the last tenth (or that share) of the run so far; None where it has no finite value there."""
    since = (1 - share) * points[-1]["images"] if points else 0.0
    values = [point[name] for point in points if point["images"] >= since and name in point and math.isfinite(point[name])]
    return sum(values) / len(values) if values else None


def _balance(share: float) -> Remark:
    about = f"it tells a real image from a generated one in {share:.0%} of pairs (50% is chance)"
    if share > WON:
        remedy = "raise r1 and r2 (or another penalty), lower lr_discriminator, or raise lr_generator"
        return Remark("balance", f"The discriminator has won: {about}, which teaches the generator little; {remedy}.", warns=True)
    if share < BEHIND:
        remedy = "raise lr_discriminator (or critic_steps), lower r1 and r2, or lower lr_generator"
        return Remark("balance", f"The discriminator is behind and mostly wrong: {about}; {remedy}.", warns=True)
    if share < LEVEL:
        return Remark("balance", f"The two are level: the discriminator hardly sees a difference, {about}.")
    return Remark("balance", f"The discriminator is ahead, as it should be while there is something to learn: {about}.")


def _memory(share: float) -> Remark:
    about = f"it finds one more real than a held-out image in {share:.0%} of pairs (50% is chance)"
    if share > MEMORIZED:
        remedy = "set augment: ada, add images, or stop earlier"
        return Remark("memory", f"The discriminator has memorized the training images: {about}; {remedy}.", warns=True)
    if share > MEMORIZING:
        return Remark("memory", f"The discriminator begins to memorize the training images: {about}.")
    if share < STRANGE:
        remedy = "the held-out images may be of another kind, or too few"
        return Remark("memory", f"The discriminator finds held-out images more real: {about}; {remedy}.", warns=True)
    return Remark("memory", f"The discriminator knows the training images no better than others: {about}.")


def _variety(share: float) -> Remark:
    about = f"those of a fixed batch differ {share:.0%} as much as real ones"
    if share < UNIFORM:
        return Remark("variety", f"The generator's images are too much alike: {about}; {MORE_VARIETY}.", warns=True)
    if share > SCATTERED:
        remedy = "as noise and saturated images do; lower the learning rates"
        return Remark("variety", f"The generator's images differ too much: {about}, {remedy}.", warns=True)
    return Remark("variety", f"The generator's images vary: {about}.")


def _colors(correlation: float) -> Remark:
    about = f"their brightness and that of their inputs have a correlation of {correlation:.2f}"
    if correlation < INVERTED:
        remedy = "raise identity, or begin as the identity (residual: true)"
        return Remark("colors", f"The translations invert what is bright and dark: {about}; {remedy}.", warns=True)
    return Remark("colors", f"The translations are bright where their inputs are: {about}.")


def _hidden(gain: float) -> Remark:
    about = f"a little noise in a translation changes the way back {gain:.1f} times as much"
    if gain > HIDDEN:
        remedy = "lower cycle, or train on more images"
        return Remark(
            "way back", f"The translations hide their inputs in patterns that nobody sees: {about}; {remedy}.", warns=True
        )
    return Remark("way back", f"The way back goes by what is seen: {about}.")


def _reach(share: float) -> Remark:
    about = f"a fixed batch has {share:.0%} as many as real images"
    if share < FEW_MODES:
        return Remark("reach", f"The generator drops modes: {about}; {MORE_VARIETY}.", warns=True)
    return Remark("reach", f"The generator covers many modes: {about}.")
