"""cyclegan: the paper's networks written out from their tables, their sizes, and what small budgets change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks import zoo
from atelier.networks.cyclegan import CycleGANDiscriminator, CycleGANGenerator
from atelier.networks.cyclegan_settings import Settings as CycleGANSettings
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape, NetworkError
from atelier.networks.translation_layers import InstanceNorm
from tests.support.small_translators import given, label_map, model, translators

State = dict[str, Tensor]
RGB = ImageShape(64, 3, 0)
TAKES: Any = {"image": Picture(channels=3, resolution=64)}


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def woken(network: nn.Module) -> nn.Module:
    """In float64, with weights so large that every layer matters."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double()


def normed(x: Tensor, eps: float) -> Tensor:
    """Instance norm as its equation has it."""
    mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, correction=0)
    return (x - mean) / (variance + eps).sqrt()


def convolved(state: State, name: str, x: Tensor, stride: int = 1, mirrored: int = 0, zeros: int = 0) -> Tensor:
    if mirrored:
        x = F.pad(x, [mirrored] * 4, mode="reflect")
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, zeros)


def generated(state: State, x: Tensor, blocks: int, eps: float) -> Tensor:
    """c7s1-w, d2w, d4w, blocks of R4w, u2w, uw, c7s1-3 (Zhu et al. 2017, appendix 7.2), the last with tanh."""
    x = normed(convolved(state, "first.convolution", x, mirrored=3), eps).relu()
    for level in range(2):
        x = normed(convolved(state, f"down.{level}.convolution", x, stride=2, zeros=1), eps).relu()
    for block in range(blocks):
        y = normed(convolved(state, f"blocks.{block}.first", x, mirrored=1), eps).relu()
        x = x + normed(convolved(state, f"blocks.{block}.second", y, mirrored=1), eps)
    for level in range(2):
        name = f"up.{level}.convolution"
        x = F.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1, 1)
        x = normed(x, eps).relu()
    return convolved(state, "last", x, mirrored=3).tanh()


def judged(state: State, x: Tensor, halvings: int, eps: float) -> Tensor:
    """C64-C128-C256-C512 and the logit, of 4x4 convolutions; no norm in C64 (appendix 7.2)."""
    for level in range(halvings + 1):
        x = convolved(state, f"scales.0.stages.{level}.0", x, stride=2 if level < halvings else 1, zeros=1)
        x = F.leaky_relu(normed(x, eps) if level else x, 0.2)
    return convolved(state, "scales.0.head", x, zeros=1)


def test_numbers_of_the_published_networks() -> None:
    with torch.device("meta"):
        for blocks, published in ((9, 11.378), (6, 7.838)):
            assert round(numbers(CycleGANGenerator(CycleGANSettings(blocks=blocks), RGB, TAKES)) / 1e6, 3) == published
        assert round(numbers(CycleGANDiscriminator(CycleGANSettings(), RGB, 0)) / 1e6, 3) == 2.765


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_cyclegan_written_out(eps: float) -> None:
    translator, discriminator = translators("cyclegan", eps=eps)
    woken(translator), woken(discriminator)
    inputs = {name: value.double() for name, value in given(translator.takes).items()}
    expected = generated(translator.state_dict(), inputs["image"], 2, eps)
    torch.testing.assert_close(translator(**inputs), expected, rtol=1e-9, atol=1e-9)
    output = discriminator(expected, translator.planes(inputs))
    logits = judged(discriminator.state_dict(), torch.cat([inputs["image"], expected], dim=1), 2, eps)
    torch.testing.assert_close(output.logits, (logits,), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.overall, logits.mean(dim=(1, 2, 3)))


def test_instance_norm_is_pytorchs() -> None:
    x = torch.randn(3, 5, 8, 8) * torch.arange(1, 6)[:, None, None]
    for eps in (1e-5, 1e-3):
        torch.testing.assert_close(InstanceNorm(5, eps)(x), nn.InstanceNorm2d(5, eps=eps)(x), rtol=0, atol=1e-6)


def test_pictures_of_one_color_have_small_gradients() -> None:
    """Through the norms of the paper's nine blocks, at its first weights: in every layer less than ten times that of noise."""
    torch.manual_seed(0)
    translator = CycleGANGenerator(CycleGANSettings(width=8), RGB, TAKES)
    slopes = []
    for images in (torch.rand(1, 3, 64, 64) * 2 - 1, torch.ones(1, 3, 64, 64)):
        translator.zero_grad()
        (translator(image=images) - 0.5).abs().mean().backward()
        slopes.append([p.grad.abs().max().item() for p in translator.parameters() if p.grad is not None])
    assert all(slope < 1 for slope in slopes[1])
    assert max(slopes[1]) < 10 * max(slopes[0])


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_it_may_begin_as_the_identity(unshuffle: int) -> None:
    translator, _ = translators("cyclegan", residual=True, unshuffle=unshuffle, halvings=1)
    inputs = given(translator.takes)
    assert torch.equal(translator(**inputs), inputs["image"])
    translator(**inputs).square().sum().backward()
    assert translator.get_parameter("last.weight").grad.any()  # type: ignore[union-attr]


def test_what_is_added_leaves_no_value_that_a_picture_cannot_have() -> None:
    translator, _ = translators("cyclegan", residual=True)
    image = given(translator.takes)["image"]
    nn.init.constant_(translator.get_parameter("last.bias"), 0.5)
    assert torch.equal(translator(image=image), (image + 0.5).clamp(max=1))
    assert (image > 0.5).any()


def test_a_grey_input_is_added_to_every_color() -> None:
    settings = model("cyclegan", residual=True)
    grey: Any = {"image": Picture(channels=1, resolution=32)}
    translator = zoo.translator(settings, ImageShape(32, 3, 0), grey)
    inputs = given(grey)
    assert torch.equal(translator(**inputs), inputs["image"].expand(2, 3, 32, 32))
    for takes in ({"image": Picture(channels=3, resolution=32)}, {"map": label_map(["face"], 32)}):
        with pytest.raises(NetworkError, match=r"model\.cyclegan\.residual adds to one picture .* set it to false"):
            zoo.translator(settings, ImageShape(32, 1, 0), dict(takes))  # type: ignore[arg-type]


def test_unshuffled_pixels_are_put_back() -> None:
    """Each output pixel depends on the input around it, and on no other place."""
    translator, _ = translators("cyclegan", unshuffle=2, halvings=0, blocks=1, residual=True, eps=0.5)
    woken(translator)
    image = given(translator.takes, 1)["image"].double().requires_grad_()
    (slope,) = torch.autograd.grad(translator(image=image)[0, :, 13, 7].sum(), image)
    reached = slope.abs().sum(dim=(0, 1)) / slope.abs().max()
    row, column = divmod(int(reached.argmax()), 32)
    assert abs(row - 13) <= 4 and abs(column - 7) <= 4


@pytest.mark.parametrize("form", ["nearest", "shuffle"])
def test_other_doublings_written_out(form: str) -> None:
    translator, _ = translators("cyclegan", upsample=form, halvings=1)
    woken(translator)
    stage = translator.get_submodule("up.0")
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    if form == "nearest":
        expected = convolved(stage.state_dict(), "convolution", x.repeat_interleave(2, 2).repeat_interleave(2, 3), mirrored=1)
    else:
        parts = convolved(stage.state_dict(), "convolution.0", x, mirrored=1)
        expected = torch.zeros(2, 4, 12, 12, dtype=torch.float64)
        for row in range(2):
            for column in range(2):
                expected[:, :, row::2, column::2] = parts[:, 2 * row + column :: 4]
    torch.testing.assert_close(stage(x), normed(expected, 1e-3).relu())


def test_halvings_that_do_not_fit_are_refused() -> None:
    for section, side in (({"halvings": 4}, 32), ({"unshuffle": 3}, 32)):
        with pytest.raises(ValueError, match="choose fewer halvings or a smaller unshuffle"):
            model("cyclegan", **section).family.check(side)
    with pytest.raises(ValueError, match="leaves no patch of 32 px: choose 1 to 3"):
        model("cyclegan", layers_discriminator=4).family.check(32)
    model("cyclegan", layers_discriminator=3).family.check(32)
