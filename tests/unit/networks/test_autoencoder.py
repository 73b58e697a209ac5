"""The autoencoder against diffusers' by its tensors, and gat in its latents: what is trained, what is kept, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atelier.config import settings
from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.networks import zoo
from atelier.networks.autoencoder import Form, LatentDecoder, LatentEncoder
from atelier.networks.gat import GATGenerator
from atelier.networks.layers import ImageShape, NetworkError
from atelier.tasks.base import StepWeights
from atelier.tasks.generation.task import Generation
from tests.support.small import PARAMS
from tests.support.updates import UPDATES, labeled

SMALL = {"colors": 3, "channels": 4, "scale": 0.5, "widths": (32, 64), "blocks": 1}
SIDE = 16
FORMER = "decoder.mid_block.attentions.0.proj_attn."
LATENTS = [-0.120897, -0.178535, -0.153609, -0.098331]  # the first ones
PICTURES = [0.144931, 0.329017, 0.182151, -0.062069]  # the last ones
DEVIATIONS = [0.415713, 0.424257]  # of latents and of pictures


def filled(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that follow from their names' order, of about the size of first weights."""
    made = {}
    for number, (name, like) in enumerate(sorted(shapes.items())):
        waves = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * (1.3 + 0.01 * number) + number)
        size = (2 / (like[0].numel() if like.ndim > 1 else 4)) ** 0.5
        made[name] = (waves * size).float().view(like.shape) + float("norm" in name and name.endswith("weight"))
    return made


def file(folder: Path) -> Form:
    """An autoencoder's file, in which one tensor has the name of before 2023."""
    parts = LatentEncoder(Form("", "", **SMALL)), LatentDecoder(Form("", "", **SMALL))  # type: ignore[arg-type]
    tensors = filled({name: value for part in parts for name, value in part.state_dict().items()})
    renamed = {key.replace("decoder.mid_block.attentions.0.to_out.0.", FORMER): value for key, value in tensors.items()}
    save_file(renamed, path := folder / "autoencoder.safetensors")
    return Form(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), **SMALL)  # type: ignore[arg-type]


def chosen(form: Form, **changed: object) -> ModelSettings:
    section = {
        "width": 16, "depth": 4, "heads": 2, "patch": 2, "projection": 8, "autoencoder": form.weights,
        "autoencoder_sha256": form.sha256, "autoencoder_widths": list(form.widths), "autoencoder_blocks": form.blocks,
        "latent_scale": form.scale,
    }  # fmt: skip
    shared = {"architecture": "gat", "conditional": True, "latent_dim": 6}
    return parse(shared | {"gat": section | changed}, ModelSettings, origin="a test")


def test_latents_and_pictures_are_those_of_diffusers(tmp_path: Path) -> None:
    """AutoencoderKL of diffusers 0.42.1, in_channels 3, widths 32 and 64, layers_per_block 1, with these tensors, in float32."""
    form = file(tmp_path)
    encoder, decoder = LatentEncoder(form), LatentDecoder(form)
    encoder.read()
    decoder.read()
    assert not list(encoder.parameters()) + list(decoder.parameters()), "what is not trained has no parameters"
    latents = encoder(torch.sin(torch.arange(2 * 3 * SIDE * SIDE) * 0.37).view(2, 3, SIDE, SIDE))
    pictures = decoder(latents)
    assert latents.shape == (2, 4, SIDE // 2, SIDE // 2) and pictures.shape == (2, 3, SIDE, SIDE)
    torch.testing.assert_close(latents.flatten()[:4], torch.tensor(LATENTS), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(pictures.flatten()[-4:], torch.tensor(PICTURES), rtol=1e-3, atol=1e-4)
    assert [latents.std().item(), pictures.std().item()] == pytest.approx(DEVIATIONS, rel=1e-3)


def test_the_numbers_of_stable_diffusions() -> None:
    """83,653,863 parameters, as diffusers counts those of sd-vae-ft-mse."""
    form = Form("", "", 3, 4, 0.18215, (128, 256, 512, 512), 2)
    with torch.device("meta"):
        parts = LatentEncoder(form), LatentDecoder(form)
    assert sum(buffer.numel() for part in parts for buffer in part.buffers()) == 83_653_863


def test_gat_learns_in_latents(tmp_path: Path) -> None:
    """Both networks move, the autoencoder does not; the trained generator holds its decoder and needs the file no more."""
    form = file(tmp_path)
    train = settings.load(PARAMS, ["train.augment=diffaugment", "train.regularizers={approximate_r1: 1.0, r2: 1.0}"]).train
    torch.manual_seed(0)
    task = Generation(chosen(form), train, ImageShape(SIDE, 3, 5))
    generator, discriminator = task.generator, task.discriminator
    assert isinstance(generator, GATGenerator) and generator.judged == (16, SIDE // 2, SIDE // 2)
    assert not any(name.startswith("encoder") for name in generator.state_dict())
    batch, before = labeled(torch.rand(4, 3, SIDE, SIDE) * 2 - 1, torch.arange(4)), generator.decoder.state_dict()  # type: ignore[union-attr]
    before = {name: tensor.clone() for name, tensor in before.items()}
    for update in UPDATES.values():
        task.activate(update)
        loss, _ = task.loss(update, batch, task.draw(update, 4), StepWeights(1.0, 1.0))
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.networks[update.name].parameters())
    assert generator.decoder is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.decoder.state_dict().items())

    z, label = torch.randn(2, 6), torch.tensor([1, 4])
    pictures = generator(z, label)
    assert pictures.shape == (2, 3, SIDE, SIDE)
    torch.testing.assert_close(pictures, generator.shown(generator.drafts(z, label)))
    as_pictures = discriminator(batch["image"], batch["label"]).logits
    assert torch.equal(as_pictures, discriminator(generator.fade_real(batch["image"]), batch["label"]).logits)

    Path(form.weights).unlink()
    elsewhere = zoo.generator(chosen(form), ImageShape(SIDE, 3, 5), generator.takes)
    elsewhere.load_state_dict(generator.state_dict())
    torch.testing.assert_close(elsewhere(z, label), pictures)


def test_other_files_are_refused(tmp_path: Path) -> None:
    form = file(tmp_path)
    with pytest.raises(NetworkError, match=r"sha256 is .*, not 0000.* replace the file"):
        zoo.build(chosen(form, autoencoder_sha256="0" * 64), ImageShape(SIDE, 3, 5))
    with pytest.raises(NetworkError, match="set autoencoder_widths, autoencoder_blocks"):
        zoo.build(chosen(form, autoencoder_blocks=2), ImageShape(SIDE, 3, 5))
