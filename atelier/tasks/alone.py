"""Settings of trainings in which no discriminator learns."""

from __future__ import annotations

from atelier.config.section import SettingsError
from atelier.config.training import TrainSettings


def check_alone(train: TrainSettings, why: str, remedy: str = "") -> None:
    """Raises SettingsError for what tells a discriminator what to do; `why` there is none, `remedy` ends the message."""
    alone = {"augment": "none", "balance": "none", "critic_steps": 1}
    unfit = [f"{name}: {value}" for name, value in alone.items() if getattr(train, name) != value]
    unfit += [f"regularizers without {one.key}" for one in train.regularizers.chosen()]
    if unfit:
        raise SettingsError(f"{why}; set {', '.join(unfit)}{remedy}")
