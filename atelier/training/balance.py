"""Acts on who is ahead, if chosen: moves the discriminator's learning rate, or its steps for each of the generator's.

What is held is the separation of training: how often D finds the real image of a pair the more real (tasks/adversarial.py), 0.5
at the equilibrium and 1 when it has won. The controller is built like that of ADA (Karras et al. 2020, section 3.1): a level
moves at constant speed up or down as separation is above or below its target.
"""

from __future__ import annotations

from atelier.config.training import TrainSettings

OCTAVES = 3.0  # the level stays within these: from an eighth to eight times


class Balance:
    """One level, in octaves: at 1 D has half of its rate, or half of its steps; at -1 twice as many."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.level = 0.0

    def update(self, separation: float, images: int) -> None:
        """After so many images on which separation was that in the mean."""
        if self.settings.balance == "none":
            return
        direction = (separation > self.settings.balance_target) - (separation < self.settings.balance_target)
        self.level = min(max(self.level + direction * images / self.settings.balance_images, -OCTAVES), OCTAVES)

    @property
    def rate(self) -> float:
        """By which D's learning rate is multiplied now; never above 1, since rates that are too high end a run."""
        return min(2.0**-self.level, 1.0) if self.settings.balance == "rates" else 1.0

    @property
    def critic_steps(self) -> int:
        """D's steps for one of the generator now."""
        steps = self.settings.critic_steps
        return max(round(steps * 2.0**-self.level), 1) if self.settings.balance == "steps" else steps

    @property
    def point(self) -> dict[str, float]:
        """For the curves."""
        shown = {"rates": {"critic_rate": self.rate}, "steps": {"critic_steps": float(self.critic_steps)}}
        return shown.get(self.settings.balance, {})
