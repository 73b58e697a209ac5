"""pix2pix: the U-Net written out by its nesting, its size, dropout that noise decides, and sides from 32 to 256."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.networks.pix2pix import Pix2PixDiscriminator, Pix2PixGenerator
from atelier.networks.pix2pix_settings import Settings
from tests.support.small_translators import given, model, translators

State = dict[str, Tensor]


def taking(side: int) -> Any:
    return {"image": Picture(channels=3, resolution=side)}


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def normed(state: State, name: str, x: Tensor, kind: str, eps: float) -> Tensor:
    """Over an image or over the batch, with gain and shift."""
    over = (2, 3) if kind == "instance" else (0, 2, 3)
    x = (x - x.mean(dim=over, keepdim=True)) / (x.var(dim=over, keepdim=True, correction=0) + eps).sqrt()
    if kind == "batch":
        x = x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]
    return x


def nested(state: State, x: Tensor, level: int, levels: int, kind: str, masks: dict[int, Tensor], eps: float = 1e-3) -> Tensor:
    """A level around those within: x beside up(within(down(x))) (Isola et al. 2017, figure 3)."""
    entered = F.leaky_relu(x, 0.2) if level else x
    position = 1 if level else 0
    inner = F.conv2d(entered, state[f"down.{level}.{position}.weight"], state.get(f"down.{level}.{position}.bias"), 2, 1)
    if 0 < level < levels - 1:
        inner = normed(state, f"down.{level}.{position + 1}", inner, kind, eps)
    within = inner if level == levels - 1 else nested(state, inner, level + 1, levels, kind, masks, eps)
    name = f"up.{levels - 1 - level}"
    y = F.conv_transpose2d(within.relu(), state[f"{name}.1.weight"], state.get(f"{name}.1.bias"), 2, 1)
    if level == 0:
        return y.tanh()
    y = normed(state, f"{name}.2", y, kind, eps) * masks.get(level, torch.ones(()))
    return torch.cat([x, y], dim=1)


def woken(network: nn.Module) -> nn.Module:
    """In float64, with weights so large that every layer matters; gains of batch norm are around 1."""
    torch.manual_seed(5)
    for name, parameter in network.named_parameters():
        gain = parameter.ndim == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(gain), std=0.3)
    return network.double()


@pytest.mark.parametrize("kind", ["instance", "batch"])
@pytest.mark.parametrize(("side", "levels"), [(32, 5), (64, 6), (128, 7)])
def test_the_generator_written_out(side: int, levels: int, kind: str) -> None:
    translator, _ = translators("pix2pix", side, norm=kind, width=2)
    woken(translator)
    image = given(translator.takes)["image"].double()
    state = {name: value.detach() for name, value in translator.state_dict().items()}
    masks: dict[int, Tensor] = {}
    torch.testing.assert_close(translator(image=image), nested(state, image, 0, levels, kind, masks), rtol=1e-8, atol=1e-9)
    noise, start = torch.randn(2, translator.noise_dim), 0
    for level in range(levels - 2, 3, -1):  # from the smallest map up
        shape = (2, 2 * 8, side >> level, side >> level)
        count = shape[1] * shape[2] ** 2
        dropped = torch.from_numpy(noise[:, start : start + count].numpy() < norm.ppf(0.5)).view(shape)
        masks[level], start = torch.where(dropped, 0.0, 2.0).double(), start + count
    assert start == translator.noise_dim and bool(masks) == (levels > 5)
    found = translator(noise, image=image)
    torch.testing.assert_close(found, nested(state, image, 0, levels, kind, masks), rtol=1e-8, atol=1e-9)
    assert torch.equal(found, translator(image=image)) == (levels == 5)


def test_dropout_leaves_out_its_share() -> None:
    translator, _ = translators("pix2pix", 64, dropout=0.2)
    kept = translator._masks(torch.randn(50, translator.noise_dim))  # type: ignore[operator]
    assert kept[0].unique().tolist() == pytest.approx([0, 1.25])
    assert kept[0].mean() == pytest.approx(1, abs=0.02)
    assert translators("pix2pix", 64, dropout=0.0)[0].noise_dim == 0


def test_numbers_of_the_published_networks() -> None:
    """Of 256 px with batch norm, which has gains and shifts, and no biases before it."""
    shape, settings = ImageShape(256, 3, 0), Settings(norm="batch")
    with torch.device("meta"):
        assert round(numbers(Pix2PixGenerator(settings, shape, taking(256))) / 1e6, 3) == 54.414
        assert round(numbers(Pix2PixDiscriminator(settings, shape, 3)) / 1e6, 3) == 2.769


@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_every_power_of_two_from_32(side: int) -> None:
    model("pix2pix").family.check(side)
    translator, _ = translators("pix2pix", side)
    assert translator(**given(translator.takes, 1)).shape == (1, 3, side, side)


def test_other_sides_are_refused() -> None:
    for side in (28, 16, 96):
        with pytest.raises(ValueError, match=f"{side} px are no power of two from 32: choose another"):
            model("pix2pix", layers_discriminator=1).family.check(side)


def test_nearest_neighbors_instead_of_transposed_convolutions() -> None:
    translator, _ = translators("pix2pix", upsample="nearest")
    assert not any(isinstance(part, nn.ConvTranspose2d) for part in translator.modules())
    assert translator(**given(translator.takes)).shape == (2, 3, 32, 32)


def test_batch_norm_says_so() -> None:
    """Accumulation, which batch norm sees, is told of it."""
    assert model("pix2pix", norm="batch").family.normalized and not model("pix2pix").family.normalized
    _, discriminator = translators("pix2pix", norm="batch")
    assert sum(isinstance(part, nn.BatchNorm2d) for part in discriminator.modules()) == 2
