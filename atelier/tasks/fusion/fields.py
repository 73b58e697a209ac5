"""The fields of a batch by the inputs of a generator that are given them."""

from __future__ import annotations

from atelier.networks.fusion import AUDIO, TEXT

FIELDS = {TEXT: "text", AUDIO: "sound"}
