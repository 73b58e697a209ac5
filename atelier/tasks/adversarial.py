"""The base of adversarial tasks: the objective, signals from the logits, and what is done to all of their networks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from atelier.config.section import SettingsError
from atelier.config.training import FinetuneSettings, TrainSettings
from atelier.losses.adversarial import Objective
from atelier.networks.base import Discriminator, Network, PatchDiscriminator
from atelier.tasks.base import Logged, Task, Update

Judge = Discriminator | PatchDiscriminator


def prepare(networks: Iterable[Network], train: TrainSettings) -> None:
    """Has the networks trade activations as the settings say. Raises SettingsError where stages are frozen that there are not."""
    for network in networks:
        for part in network.modules():
            if isinstance(part, Network):
                part.activation_checkpointing = train.checkpointing
        if isinstance(network, Judge) and _frozen(train) > (stages := len(network.freezable_stages())):
            raise SettingsError(f"finetune.freeze_discriminator is {_frozen(train)}, but the discriminator has {stages} stages")


def freeze(networks: Iterable[Network], train: TrainSettings) -> None:
    """Frozen stages of discriminators take no gradients (FreezeD, Mo et al. 2020, section 3)."""
    for network in networks:
        if isinstance(network, Judge):
            for stage in network.freezable_stages()[: _frozen(train)]:
                stage.requires_grad_(False)


@torch.no_grad()
def clip(networks: Iterable[Network], most: float) -> None:
    """Clips the weights of a Wasserstein critic (Arjovsky et al. 2017, algorithm 1); 0 for no clipping."""
    if most > 0:
        for network in networks:
            for parameter in network.parameters():
                parameter.clamp_(-most, most)


def _frozen(train: TrainSettings) -> int:
    return train.freeze_discriminator if isinstance(train, FinetuneSettings) else 0


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
