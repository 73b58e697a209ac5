"""A controller that holds the discriminator's AUC: by its learning rate, or by its steps for each of the generator's.

The AUC is the share of pairs in which the discriminator finds the real image more real (tasks/adversarial.py): 0.5 at the
equilibrium, 1 when it has won. The controller is built like that of ADA (Karras et al. 2020, section 3.1): a level rises or
falls at constant speed while the AUC is above or below its target.
"""

from __future__ import annotations

from atelier.config.training import TrainSettings

OCTAVES = 3.0  # the level stays within these: from an eighth to eight times


class Balance:
    """One level, in octaves: at 1 the discriminator has half of its rate, or half of its steps; at -1 twice as many."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.level = 0.0

    def update(self, auc: float, images: int) -> None:
        """After so many images with that mean AUC."""
        if self.settings.balance == "none":
            return
        direction = (auc > self.settings.balance_target) - (auc < self.settings.balance_target)
        self.level = min(max(self.level + direction * images / self.settings.balance_images, -OCTAVES), OCTAVES)

    @property
    def rate(self) -> float:
        """The factor of the discriminator's learning rate now; never above 1, since rates that are too high end a run."""
        return min(2.0**-self.level, 1.0) if self.settings.balance == "rates" else 1.0

    @property
    def critic_steps(self) -> int:
        """The discriminator's steps for one of the generator now."""
        steps = self.settings.critic_steps
        return max(round(steps * 2.0**-self.level), 1) if self.settings.balance == "steps" else steps

    @property
    def point(self) -> dict[str, float]:
        """For the curves."""
        points = {"rates": {"discriminator_rate": self.rate}, "steps": {"critic_steps": float(self.critic_steps)}}
        return points.get(self.settings.balance, {})
