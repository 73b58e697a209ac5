"""The base of adversarial tasks: the objective, and signals from the discriminator's logits."""

from __future__ import annotations

import torch
from torch import Tensor

from atelier.losses.adversarial import Objective
from atelier.tasks.base import Logged, Task, Update


class AdversarialTask(Task):
    """A task whose discriminator updates log `real_logits` and `fake_logits` [N]."""

    objective: Objective

    @property
    def undecided(self) -> float:  # type: ignore[override]
        """The discriminator's loss when it finds all images equally real and says so with logits of 0."""
        return self.objective.discriminator(torch.zeros(1), torch.zeros(1)).item()

    def signals(self, update: Update, logged: Logged) -> dict[str, Tensor]:
        """Mean losses and, for the discriminator, its accuracies, AUC and ADA's r_t (Karras et al. 2020, eq. 1).

        It is right on each side of the objective's border, and in pairs of a real and a generated image of one label where the
        real one's logit is the higher. A discriminator that is defined only up to a constant, be it one for each label, is read
        against the middle of each pair.
        """
        means = {name: values.mean() for name, values in logged.items() if not name.endswith("_logits")}
        if "real_logits" not in logged:
            return means
        real, fake = logged["real_logits"], logged["fake_logits"]
        middle = (real + fake) / 2 if self.objective.shift_invariant else torch.full_like(real, self.objective.border)
        return means | {
            "real_accuracy": (real > middle).float().mean(),
            "fake_accuracy": (fake < middle).float().mean(),
            "auc_real_fake": (torch.sign(real - fake).mean() + 1) / 2,
            "realism": torch.sigmoid(fake - middle).mean(),
            "ada_signal": torch.sign(real - middle).mean(),
        }
