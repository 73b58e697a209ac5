"""Tiny runs of task fusion: their settings, batches that nobody packed, and a packed set of tones with captions."""

from __future__ import annotations

from typing import Any

import torch

from atelier.config.settings import Settings
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch
from atelier.tasks.fusion.task import Fusion
from tests.support.driver import tiny
from tests.support.small_fusion import BANDS, FRAMES, NOISE, SIZE, SMALL, takes

SECTION = ", ".join(f"{name}: {value}" for name, value in SMALL.items())
BASE = [
    *("model.task=fusion", "model.architecture=fusion", f"model.latent_dim={NOISE}", "model.conditional=false"),
    f"model.fusion={{{SECTION}, width_sound: 4}}",
    *(
        f"{training}.{one}"
        for training in ("train", "finetune")
        for one in ("objective=hinge", "augment=none", "regularizers={}", "batch=8", "penalty_every=2", "on_alarm=warn")
    ),
    *("evaluate.metrics=[frechet,class_read,frechet_told]", "gate.min_coverage=0.0", "gate.min_recall=0.0"),
    *("gate.max_memorised=1.0", "gate.min_class_share=0.0"),
]


def chosen(*more: str, section: str = "") -> Settings:
    """The settings of such a project; `section` goes into train.fusion and finetune.fusion."""
    return tiny(*BASE, *(f"{training}.fusion={{{section}}}" for training in ("train", "finetune")), *more)


def built(*more: str, section: str = "", sound: bool = True) -> Fusion:
    """The task, the same each time."""
    settings = chosen(*more, section=section)
    torch.manual_seed(0)
    return Fusion(settings.model, settings.train, ImageShape(28, 1, 0), takes(sound))


def records(labels: list[int] | None, count: int = 4, sound: bool = True) -> Batch:
    """A batch of random records, of these classes."""
    rng = torch.Generator().manual_seed(1)
    shapes: dict[str, Any] = {"image": (1, 28, 28), "text": (SIZE,), **({"sound": (BANDS, FRAMES)} if sound else {})}
    batch = {name: torch.randn(count, *shape, generator=rng) for name, shape in shapes.items()}
    batch["image"] = batch["image"].clamp(-1, 1)
    return batch | ({} if labels is None else {"label": torch.tensor(labels)})
