"""Section `model.cut`."""

from __future__ import annotations

from atelier.networks.translation_sections import ResNetTranslatorSettings


class Settings(ResNetTranslatorSettings):
    """Park 2020."""

    title = "CUT (Park 2020)"
