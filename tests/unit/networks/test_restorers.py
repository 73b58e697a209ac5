"""Networks that restore pictures: each written out for every scale, their sizes and first weights, any side, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atelier.networks import zoo
from atelier.networks.base import Translator
from atelier.networks.denoising_unet import DenoisingUNetGenerator, NoiseLevel
from atelier.networks.denoising_unet_settings import Settings as DenoisingSettings
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape, NetworkError
from atelier.networks.rrdb import RRDBGenerator
from atelier.networks.rrdb_settings import Settings as RRDBSettings
from atelier.networks.srresnet import SRResNetGenerator
from atelier.networks.srresnet_settings import Settings as SRResNetSettings
from tests.support.small_translators import CLASSES, RESTORERS, label_map, model, translators
from tests.support.written_out import State, convolved, enlarged, normed, rectified, repeated, shuffled, unshuffled, woken

FACTORS: dict[int, list[int]] = {1: [], 2: [2], 3: [3], 4: [2, 2]}
LARGER = tuple(family for family in RESTORERS if family != "denoising_unet")  # those with more than one scale
EPS = 1e-3


def taking(side: int, channels: Any = 3) -> Takes:
    return {"image": Picture(channels=channels, resolution=side)}


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images(height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def srresnet(state: State, image: Tensor, scale: int, original: bool) -> Tensor:
    """The paper's (Ledig et al. 2017, figure 4), or MSRResNet: no norm, slopes of 0.1, added to what is interpolated."""

    def rectifier(name: str, x: Tensor, slope: float = 0.1) -> Tensor:
        return rectified(x, state[f"{name}.weight"] if original else slope)

    def maybe_normed(name: str, x: Tensor) -> Tensor:
        return normed(state, name, x, EPS) if original else x

    pixels = (image + 1) / 2
    entered = x = rectifier("first.1", convolved(state, "first.0", pixels))
    for block in range(2):
        name = f"blocks.{block}"
        y = maybe_normed(f"{name}.norms.0", convolved(state, f"{name}.first", x))
        y = convolved(state, f"{name}.second", rectifier(f"{name}.rectifier", y, slope=0.0))
        x = x + maybe_normed(f"{name}.norms.1", y)
    if original:
        x = entered + normed(state, "around.1", convolved(state, "around.0", x), EPS)
    for index, factor in enumerate(FACTORS[scale]):
        x = rectifier(f"up.{index}.2", shuffled(convolved(state, f"up.{index}.0", x), factor))
    if original:
        return convolved(state, "last.0", x) * 2 - 1
    x = convolved(state, "last.2", rectified(convolved(state, "last.0", x), 0.1))
    return (x + enlarged(pixels, scale)) * 2 - 1


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_srresnet_written_out(scale: int, norm: str) -> None:
    translator, _ = translators("srresnet", 32, scale=scale, norm=norm, residual=norm == "none")
    state = woken(translator)
    assert state["first.0.weight"].shape[2] == (9 if norm == "batch" else 3)
    close(translator(image=images()), srresnet(state, images(), scale, norm == "batch"))


def rrdb(state: State, image: Tensor, scale: int) -> Tensor:
    """Dense blocks in blocks, a fifth of each added to what entered (Wang et al. 2018, figure 4)."""
    pixels = (image + 1) / 2
    entered = x = convolved(state, "first", unshuffled(pixels, {1: 4, 2: 2}.get(scale, 1)))
    for block in range(2):
        y = x
        for dense in range(3):
            seen = y
            for layer in range(4):
                new = convolved(state, f"blocks.{block}.dense.{dense}.layers.{layer}", seen)
                seen = torch.cat([seen, rectified(new, 0.2)], dim=1)
            y = y + 0.2 * convolved(state, f"blocks.{block}.dense.{dense}.layers.4", seen)
        x = x + 0.2 * y
    x = entered + convolved(state, "around", x)
    for index, factor in enumerate([3] if scale == 3 else [2, 2]):
        x = rectified(convolved(state, f"up.{index}.1", repeated(x, factor)), 0.2)
    return convolved(state, "last.2", rectified(convolved(state, "last.0", x), 0.2)) * 2 - 1


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_rrdb_written_out(scale: int) -> None:
    translator, _ = translators("rrdb", 32, scale=scale)
    state = woken(translator)
    assert translator.multiple == {1: 4, 2: 2}.get(scale, 1)
    close(translator(image=images()), rrdb(state, images(), scale))


def drunet(state: State, image: Tensor, level: Tensor, halvings: int = 2) -> Tensor:
    """Residual blocks of one 2x2 halving or doubling to the next, each side's maps added (Zhang et al. 2021, figure 3)."""

    def block(name: str, x: Tensor) -> Tensor:
        return x + convolved(state, f"{name}.second", rectified(convolved(state, f"{name}.first", x)))

    maps = [convolved(state, "first", torch.cat([(image + 1) / 2, level], dim=1))]
    for at in range(halvings):
        maps.append(convolved(state, f"down.{at}.1", block(f"down.{at}.0.0", maps[-1]), stride=2, padding=0))
    x = block("middle.0", maps[-1]) + maps[-1]
    for at in range(halvings):
        weight = state[f"up.{at}.0.weight"]  # [in, out, 2, 2]
        parts = torch.einsum("nihw,ioab->noabhw", x, weight).flatten(1, 3)
        x = block(f"up.{at}.1.0", shuffled(parts, 2)) + maps[-2 - at]
    return convolved(state, "last", x) * 2 - 1


def test_denoising_unet_written_out() -> None:
    """With a noise level for each picture, and with the one that is measured."""
    translator, _ = translators("denoising_unet")
    state = woken(translator)
    given = torch.tensor([0.05, 0.2]).double()
    close(translator(noise_level=given, image=images()), drunet(state, images(), given[:, None, None, None].expand(-1, 1, 8, 12)))
    close(translator(image=images()), drunet(state, images(), NoiseLevel().double()((images() + 1) / 2)))
    assert not torch.allclose(translator(noise_level=given, image=images()), translator(noise_level=given / 2, image=images()))


def test_what_is_restored_scales_with_picture_and_noise() -> None:
    """Nothing of the denoiser has a bias (Zhang et al. 2021, section 3.2)."""
    translator, _ = translators("denoising_unet")
    woken(translator)
    pixels = (images() + 1) / 2
    half = translator(image=pixels / 2 * 2 - 1) + 1
    close(half * 2, translator(image=pixels * 2 - 1) + 1)


def test_the_noise_level_written_out() -> None:
    """Immerkær 1996, equation 3, over the pixels that there are of 31 by 31."""
    pixels = (images(40, 36) + 1) / 2
    around = nn.functional.pad(pixels, (1, 1, 1, 1), mode="reflect")
    rows = around[:, :, 2:] - 2 * around[:, :, 1:-1] + around[:, :, :-2]
    size = (rows[..., 2:] - 2 * rows[..., 1:-1] + rows[..., :-2]).abs().mean(dim=1)
    found = NoiseLevel().double()(pixels)[:, 0]
    for row, column in ((0, 0), (20, 17), (39, 3)):
        window = size[:, max(row - 15, 0) : row + 16, max(column - 15, 0) : column + 16]
        close(found[:, row, column], (torch.pi / 2) ** 0.5 / 6 * window.mean(dim=(1, 2)))


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_noise_is_measured(sigma: float) -> None:
    """Of a picture that is smooth, within a twentieth."""
    torch.manual_seed(0)
    smooth = torch.linspace(0.2, 0.8, 96).expand(4, 3, 96, 96)
    found = NoiseLevel()(smooth + sigma * torch.randn(4, 3, 96, 96))
    assert found.shape == (4, 1, 96, 96)
    assert found.mean().item() == pytest.approx(sigma, rel=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert NoiseLevel()(smooth + sigma * torch.randn(4, 3, 96, 96)).mean().item() == pytest.approx(sigma, rel=0.05)


def test_numbers_of_the_published_networks() -> None:
    """MSRResNet: the README of the NTIRE 2019 challenge. RRDB and DRUNet: printed by their authors' code. SRResNet: figure 4."""

    def count(made: Any, settings: Any, side: int, large: int, channels: int = 3) -> int:
        network: Translator = made(settings, ImageShape(large, channels, 0), taking(side, channels))
        return numbers(network)

    with torch.device("meta"):
        assert count(SRResNetGenerator, SRResNetSettings(), 64, 256) == 1_517_571
        assert count(SRResNetGenerator, SRResNetSettings(norm="batch", residual=False), 64, 256) == 1_549_462
        assert count(RRDBGenerator, RRDBSettings(), 64, 256) == 16_697_987
        assert count(RRDBGenerator, RRDBSettings(), 64, 128) == 16_703_171  # RealESRGAN_x2plus
        assert count(RRDBGenerator, RRDBSettings(blocks=6), 64, 256) == 4_467_779  # RealESRGAN_x4plus_anime_6B
        assert count(DenoisingUNetGenerator, DenoisingSettings(), 64, 64) == 32_640_960
        assert count(DenoisingUNetGenerator, DenoisingSettings(), 64, 64, channels=1) == 32_638_656


def test_first_weights_are_small_where_residuals_are_added() -> None:
    """A tenth of He's, biases zero; PyTorch's around the blocks of RRDB. DRUNet's are orthogonal."""
    torch.manual_seed(0)
    shape = ImageShape(64, 3, 0)
    srresnet = SRResNetGenerator(SRResNetSettings(blocks=2), shape, taking(16))
    rrdb = RRDBGenerator(RRDBSettings(blocks=1), shape, taking(16))
    inside = [module for module in rrdb.blocks.modules() if isinstance(module, nn.Conv2d)]
    for layer in [*inside, *(module for module in srresnet.modules() if isinstance(module, nn.Conv2d))]:
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(0.1 * (2 / fan_in) ** 0.5, rel=0.1)
        assert layer.bias is not None and not layer.bias.any()
    for layer in (rrdb.around, *(module for module in rrdb.up.modules() if isinstance(module, nn.Conv2d))):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)
    denoiser = DenoisingUNetGenerator(DenoisingSettings(width=8), shape, taking(64))
    rows = denoiser.last.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, 0.2**2 * torch.eye(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("family", "scale"), [("denoising_unet", 1), *((one, 1 + at) for one in LARGER for at in range(4))])
def test_pictures_of_any_sides(family: str, scale: int) -> None:
    translator, discriminator = translators(family, 32, scale=scale)
    assert translator.any_size and translator.multiple <= 4
    height, width = 3 * translator.multiple, 7 * translator.multiple
    with torch.no_grad():
        made = translator(image=torch.rand(2, 3, height, width) * 2 - 1)
    assert made.shape == (2, 3, scale * height, scale * width)
    alone = zoo.patch_discriminator(model(family), discriminator.shape, 0)
    assert alone(torch.zeros(2, 3, 40, 72)).overall.shape == (2,)


@pytest.mark.parametrize("family", RESTORERS)
def test_it_may_add_to_its_input(family: str) -> None:
    scale = 1 if family == "denoising_unet" else 4
    translator, _ = translators(family, 16, scale=scale, residual=True)
    for name, parameter in translator.named_parameters():
        if name.startswith("last"):
            nn.init.zeros_(parameter)
    close(translator.double()(image=images(16, 16)), enlarged(images(16, 16), scale))
    without, _ = translators(family, 16, scale=scale, residual=False)
    without.load_state_dict(translator.state_dict())
    assert (without(image=images(16, 16).float()) == -1).all()


@pytest.mark.parametrize("family", RESTORERS)
def test_it_restores_one_picture(family: str) -> None:
    maps: Takes = {"map": label_map(CLASSES, 32)}
    for given in (maps, taking(32) | maps, taking(32, 1), taking(32) | {"other": Picture(channels=3, resolution=32)}):
        with pytest.raises(
            NetworkError, match=rf"{family} restores one picture of 3 channels.*choose another model.architecture"
        ):
            zoo.translator(model(family), ImageShape(32, 3, 0), given)


@pytest.mark.parametrize("family", RESTORERS)
def test_scales_that_there_are_not(family: str) -> None:
    for side in (160, 48, 16, *([64] if family == "denoising_unet" else [])):
        with pytest.raises(
            NetworkError, match=rf"{family} makes pictures 1.* as large, not of {side} px from 32: choose another"
        ):
            zoo.translator(model(family), ImageShape(side, 3, 0), taking(32))


def test_sides_that_cannot_be_halved_are_refused() -> None:
    for family in ("rrdb", "denoising_unet"):
        with pytest.raises(ValueError, match=r"layers_discriminator is 3, and 36 px are no multiple of 8: choose fewer"):
            model(family, layers_discriminator=3).family.check(36)
        model(family, layers_discriminator=2).family.check(36)
    with pytest.raises(ValueError, match=r"denoising_unet.halvings is 3, and 36 px are no multiple of 8: choose fewer"):
        model("denoising_unet", halvings=3).family.check(36)
    with pytest.raises(ValueError, match=r"srresnet.layers_discriminator is 5, which leaves no patches of 32 px: choose 1 to 4"):
        model("srresnet", layers_discriminator=5).family.check(32)
    model("srresnet", layers_discriminator=4).family.check(32)


def test_batch_norm_says_so() -> None:
    """Accumulation, which batch norm sees, is told of it."""
    assert not model("srresnet").family.normalized and not model("rrdb").family.normalized
    for section in ({"norm": "batch"}, {"norm_discriminator": "batch"}):
        assert model("srresnet", **section).family.normalized
