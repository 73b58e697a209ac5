"""A checkpoint folder of a small MLP generator, for the tests of what registers and serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from atelier.models.model import NETWORKS, WEIGHTS, GeneratorInfo, Gives, model_settings, write_info
from atelier.networks import zoo
from atelier.networks.inputs import of_latents
from atelier.networks.layers import ImageShape


def write_checkpoint(
    folder: Path,
    seed: int,
    classes: Sequence[str],
    settings: Mapping[str, Any] | None = None,
    parent: dict[str, Any] | None = None,
    family: str = "mlp",
) -> Path:
    """Writes it with weights that follow from `seed`, unconditional without classes, and returns the folder."""
    folder.mkdir(parents=True)
    info = GeneratorInfo(
        model={"architecture": family, "conditional": bool(classes), "latent_dim": 4, family: {"hidden": [8, 16]}},
        takes=of_latents(4, len(classes)),
        gives=Gives(resolution=28, channels=1),
        classes=list(classes),
        images_seen=640,
        step=10,
        seed=seed,
        data={"content_hash": "d" * 64, "split": "train", "source": {"licence": "CC0"}},
        settings=dict(settings or {}),
        code={"sha256": "c" * 64, "commit": "abc123", "dirty": "false"},
        run_key=f"key-{seed}",
        metric={"value": 1.5, "identity": {"metric": "frechet"}},
        parent=parent,
    )
    torch.manual_seed(seed)
    networks = zoo.build(model_settings(info, folder), ImageShape(28, 1, len(classes)))
    save_file(networks[0].state_dict(), folder / WEIGHTS)
    named = zip(("generator", "discriminator"), networks, strict=True)
    save_file({f"{network}.{key}": v for network, net in named for key, v in net.state_dict().items()}, folder / NETWORKS)
    write_info(folder, info)
    return folder
