"""Section `model.mlp_deep`."""

from __future__ import annotations

from pydantic import Field

from atelier.networks import mlp_settings


class Settings(mlp_settings.Settings):
    """Goodfellow 2014, deeper."""

    title = "Deep MLP GAN (Goodfellow 2014)"

    hidden: mlp_settings.Widths = Field(default=[512, 1024])
