"""Section `model.cyclegan`."""

from __future__ import annotations

from atelier.networks.translation_sections import ResamplingSettings


class Settings(ResamplingSettings):
    """Zhu 2017."""

    title = "CycleGAN (Zhu 2017)"
