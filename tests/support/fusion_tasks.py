"""Tiny runs of task fusion: their settings, batches that nobody packed, and a packed set of tones with captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.config.data import DataSettings
from atelier.config.settings import Settings
from atelier.extractors import sentences
from atelier.networks.layers import ImageShape
from atelier.tasks.base import Batch
from atelier.tasks.fusion.task import Fusion
from tests.support.annotated import vectors, wav, write_rows
from tests.support.driver import tiny
from tests.support.packing import quietly
from tests.support.small_fusion import BANDS, FRAMES, NOISE, SIZE, SMALL, takes

NAMES = ["low", "middle", "high"]
SECTION = ", ".join(f"{name}: {value}" for name, value in SMALL.items())
BASE = [
    *("model.task=fusion", "model.architecture=fusion", f"model.latent_dim={NOISE}", "model.conditional=false"),
    f"model.fusion={{{SECTION}, width_sound: 4}}",
    *(
        f"{training}.{one}"
        for training in ("train", "finetune")
        for one in ("objective=hinge", "augment=none", "regularizers={}", "batch=8", "penalty_every=2", "on_alarm=warn")
    ),
    *("evaluate.metrics=[frechet,class_read,frechet_told,originality]", "gate.min_coverage=0.0", "gate.min_recall=0.0"),
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


@pytest.fixture(name="tones", scope="session")
def tones_fixture(
    tmp_path_factory: pytest.TempPathFactory, data_settings: Callable[..., DataSettings], encode: Callable[..., bytes]
) -> Path:
    """The folder of a packed set of three classes: bars, each with a caption and tones of its own, of which some are held out."""
    raw, packed = tmp_path_factory.mktemp("tones"), tmp_path_factory.mktemp("packed") / "tones"
    rows = []
    for number in range(48):
        label = number % len(NAMES)
        picture = np.random.default_rng(number).integers(0, 60, (28, 28), dtype=np.uint8)
        picture[4 + 8 * label : 10 + 8 * label] = 255
        tones = [wav(300 * (1 + label) + 5 * take) for take in range(2)]
        rows.append(
            {"image": encode(picture), "text": [NAMES[label], f"the {NAMES[label]}"], "sound": tones, "label": NAMES[label]}
        )
    write_rows(raw / "a.parquet", rows)
    fields = {"image": {}, "text": {"kind": "text"}, "sound": {"kind": "sound"}}
    settings = data_settings(source="parquet", path=str(raw), fields=fields, channels=1, resolution=28, holdout=0.25, labels=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "bring", lambda: Path())
        patch.setattr(sentences, "embed_texts", vectors)
        quietly(settings, packed, workers=1)
    return packed
