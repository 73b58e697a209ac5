"""pix2pixhd: its networks written out from their tables, with and without the enhancer, and their sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.networks.pix2pixhd import Pix2PixHDDiscriminator, Pix2PixHDGenerator
from atelier.networks.pix2pixhd_settings import Settings
from atelier.networks.resnet_translator import ResNetTranslator
from tests.support.small_translators import given, label_map, model, translators
from tests.unit.networks.test_resnet_translators import convolved, normed, numbers, woken

State = dict[str, Tensor]
EPS = 1e-3


def block(state: State, name: str, x: Tensor) -> Tensor:
    y = normed(convolved(state, f"{name}.first", x, mirrored=1), EPS).relu()
    return x + normed(convolved(state, f"{name}.second", y, mirrored=1), EPS)


def doubled(state: State, name: str, x: Tensor) -> Tensor:
    x = F.conv_transpose2d(x, state[f"{name}.convolution.weight"], state[f"{name}.convolution.bias"], 2, 1, 1)
    return normed(x, EPS).relu()


def trunk(state: State, x: Tensor, halvings: int) -> Tensor:
    """The global generator without its last layer."""
    x = normed(convolved(state, "first.convolution", x, mirrored=3), EPS).relu()
    for level in range(halvings):
        x = normed(convolved(state, f"down.{level}.convolution", x, stride=2, zeros=1), EPS).relu()
    x = block(state, "blocks.0", x)
    for level in range(halvings):
        x = doubled(state, f"up.{level}", x)
    return x


def enhanced(state: State, x: Tensor, halvings: int) -> Tensor:
    """The local enhancer: half the width, one halving, the global generator's features added there (section 3.2)."""
    half = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
    y = normed(convolved(state, "local_first.convolution", x, mirrored=3), EPS).relu()
    y = normed(convolved(state, "local_down.convolution", y, stride=2, zeros=1), EPS).relu()
    y = y + trunk(state, half, halvings)
    for number in range(3):
        y = block(state, f"local_blocks.{number}", y)
    return doubled(state, "local_up", y)


@pytest.mark.parametrize("enhancer", [False, True])
def test_the_generator_written_out(enhancer: bool) -> None:
    translator, _ = translators("pix2pixhd", enhancer=enhancer)
    woken(translator)
    image = given(translator.takes)["image"].double()
    state = translator.state_dict()
    features = (enhanced if enhancer else trunk)(state, image, 2)
    expected = convolved(state, "last", features, mirrored=3).tanh()
    torch.testing.assert_close(translator(image=image), expected, rtol=1e-9, atol=1e-9)
    assert translator.multiple == (8 if enhancer else 4)


def test_the_discriminator_written_out() -> None:
    """Wider padding than CycleGAN's, biases everywhere."""
    _, discriminator = translators("pix2pixhd")
    woken(discriminator)
    state = discriminator.state_dict()
    x = torch.randn(2, 6, 32, 32, dtype=torch.float64)
    found, logits = discriminator(x[:, 3:], x[:, :3]), []
    for scale in range(2):
        y = x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False) if scale else x
        for level in range(3):
            y = convolved(state, f"scales.{scale}.stages.{level}.0", y, stride=2 if level < 2 else 1, zeros=2)
            y = F.leaky_relu(normed(y, EPS) if level else y, 0.2)
            torch.testing.assert_close(found.features[scale][level], y, rtol=1e-9, atol=1e-9)
        logits.append(convolved(state, f"scales.{scale}.head", y, zeros=2))
    torch.testing.assert_close(found.logits, tuple(logits), rtol=1e-9, atol=1e-9)


def test_numbers_of_the_published_networks() -> None:
    """For Cityscapes' 35 labels and edges, by hand from the tables: 182.5 and 182.9 million; the discriminators see RGB, too."""

    def convolution(inner: int, outer: int, side: int = 3) -> int:
        return inner * outer * side**2 + outer

    shape, steps = ImageShape(256, 3, 0), [(64 * 2**level, 128 * 2**level) for level in range(4)]
    takes: Any = {"map": label_map([str(one) for one in range(36)], 256)}
    resampled = sum(convolution(a, b) + convolution(b, a) for a, b in steps)
    body = convolution(36, 64, 7) + resampled + 9 * 2 * convolution(1024, 1024)
    local = (
        convolution(36, 32, 7) + convolution(32, 64) + 3 * 2 * convolution(64, 64) + convolution(64, 32) + convolution(32, 3, 7)
    )
    scale = convolution(39, 64, 4) + sum(convolution(w, 2 * w, 4) for w in (64, 128, 256)) + convolution(512, 1, 4)
    with torch.device("meta"):
        assert numbers(Pix2PixHDGenerator(Settings(), shape, takes)) == body + convolution(64, 3, 7) == 182_546_755
        assert numbers(Pix2PixHDGenerator(Settings(enhancer=True), shape, takes)) == body + local == 182_857_059
        assert numbers(Pix2PixHDDiscriminator(Settings(scales=3), shape, 36)) == 3 * scale == 8_404_803


def test_the_enhancer_goes_with_what_small_budgets_change() -> None:
    translator, _ = translators("pix2pixhd", 64, enhancer=True, unshuffle=2, halvings=1, residual=True, upsample="nearest")
    assert isinstance(translator, ResNetTranslator)
    inputs = given(translator.takes)
    assert torch.equal(translator(**inputs), inputs["image"])
    translator(**inputs).square().sum().backward()
    assert all(p.grad is not None for p in translator.parameters())
    _, features = translator.features(**inputs)
    assert {name: (map.shape[1], map.shape[2]) for name, map in features.items()} == translator.feature_shapes
    assert all(torch.equal(map, features[name]) for name, map in translator.encode(**inputs).items())


def test_halvings_count_that_of_the_enhancer() -> None:
    model("pix2pixhd", halvings=3).family.check(32)
    with pytest.raises(ValueError, match=r"model\.pix2pixhd shrinks the side by 16.*choose fewer halvings"):
        model("pix2pixhd", halvings=3, enhancer=True).family.check(32)


def test_first_weights_are_normal() -> None:
    torch.manual_seed(0)
    translator = Pix2PixHDGenerator(Settings(width=16, blocks=1, enhancer=True), ImageShape(64, 3, 0), given_takes())
    weights = torch.cat([p.flatten() for p in translator.parameters() if p.ndim > 1])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(p.any() for p in translator.parameters() if p.ndim == 1)


def given_takes() -> Any:
    return {"image": Picture(channels=3, resolution=64)}
