"""Section `model.sagan`."""

from __future__ import annotations

from atelier.networks.sections import AttendingSettings


class Settings(AttendingSettings):
    """Zhang 2019."""

    title = "Self-attention GAN (Zhang 2019)"
