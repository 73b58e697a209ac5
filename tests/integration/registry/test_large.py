"""A checkpoint of 300 MB through MLflow's proxied artifact store, into S3 and back."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from atelier.io.files import sha256_file
from atelier.models.model import NETWORKS, GeneratorInfo, Gives, model_settings, write_info
from atelier.networks import zoo
from atelier.networks.inputs import of_latents
from atelier.networks.layers import ImageShape
from atelier.registry.fetch import load_checkpoint
from atelier.registry.register import register
from atelier.tracking.step_run import step_run
from tests.support.mlflow_servers import Server

MEGABYTE = 10**6


def checkpoint(folder: Path) -> Path:
    folder.mkdir()
    info = GeneratorInfo(
        model={"architecture": "mlp", "conditional": False, "latent_dim": 4, "mlp": {"hidden": [64, 30_000]}},
        takes=of_latents(4, 0), gives=Gives(resolution=28, channels=1), classes=[], images_seen=1, step=1, seed=0,
        data={"content_hash": "d" * 64}, settings={}, code={}, run_key="large", metric={}, parent=None,
    )  # fmt: skip
    torch.manual_seed(0)
    networks = zoo.build(model_settings(info, folder), ImageShape(28, 1, 0))
    save_file(networks[0].state_dict(), folder / "generator.safetensors")
    named = zip(("generator", "discriminator"), networks, strict=True)
    save_file({f"{network}.{key}": value for network, net in named for key, value in net.state_dict().items()}, folder / NETWORKS)
    write_info(folder, info)
    return folder


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_large_checkpoint_goes_through_mlflow_and_comes_back(server: Server, tmp_path: Path) -> None:
    folder, name = checkpoint(tmp_path / "large"), f"large-{uuid.uuid4().hex[:8]}"
    assert sum(file.stat().st_size for file in folder.iterdir()) > 300 * MEGABYTE
    with step_run("register", "large tests", {}, required=True) as run:
        made = register(run, name, folder, [], "A card.")
    fetched = load_checkpoint(made.uri, tmp_path / "fetched")
    for file in folder.iterdir():
        assert sha256_file(fetched / file.name) == sha256_file(file), file.name
