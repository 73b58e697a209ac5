"""cut: its networks written out from their tables, the layers whose features are contrasted, and what makes them comparable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.cut import CUTDiscriminator, CUTGenerator
from atelier.networks.cut_settings import Settings
from atelier.networks.inputs import Picture
from atelier.networks.layers import ImageShape
from atelier.networks.patch_mlps import PatchMLPs
from atelier.networks.resnet_translator import ResNetTranslator
from atelier.networks.translation_layers import BlurDown, BlurUp
from tests.support.small_translators import given, translators
from tests.unit.networks.test_resnet_translators import convolved, normed, numbers, woken

State = dict[str, Tensor]
TAKES: Any = {"image": Picture(channels=3, resolution=64)}


def blurred(x: Tensor) -> Tensor:
    """[1, 2, 1] along both axes as two means of neighbors, at every second pixel; mirrored around."""
    return F.avg_pool2d(F.avg_pool2d(F.pad(x, [1] * 4, mode="reflect"), 2, stride=1), 2)


def doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def generated(state: State, x: Tensor, blocks: int, eps: float) -> tuple[Tensor, dict[str, Tensor]]:
    """As CycleGAN's, but for convolutions of stride 1 before and after the filters."""
    maps = {"image": x}
    x = normed(convolved(state, "first.convolution", x, mirrored=3), eps).relu()
    for level in range(2):
        maps[f"down{level + 1}"] = x = convolved(state, f"down.{level}.convolution", x, zeros=1)
        x = blurred(normed(x, eps).relu())
    for block in range(blocks):
        y = normed(convolved(state, f"blocks.{block}.first", x, mirrored=1), eps).relu()
        maps[f"block{block + 1}"] = x = x + normed(convolved(state, f"blocks.{block}.second", y, mirrored=1), eps)
    for level in range(2):
        x = normed(convolved(state, f"up.{level}.convolution", doubled(x), zeros=1), eps).relu()
    return convolved(state, "last", x, mirrored=3).tanh(), maps


def test_the_filters_written_out() -> None:
    for side in (8, 7):
        x = torch.randn(2, 3, side, side, dtype=torch.float64)
        torch.testing.assert_close(BlurDown().double()(x), blurred(x))
        torch.testing.assert_close(BlurUp().double()(x), doubled(x))


def test_cut_written_out() -> None:
    translator, discriminator = translators("cut", blocks=4)
    woken(translator), woken(discriminator)
    assert isinstance(translator, ResNetTranslator)
    image = given(translator.takes)["image"].double()
    expected, maps = generated(translator.state_dict(), image, 4, 1e-3)
    torch.testing.assert_close(translator(image=image), expected, rtol=1e-9, atol=1e-9)
    picture, features = translator.features(image=image)
    torch.testing.assert_close(picture, expected, rtol=1e-9, atol=1e-9)
    assert list(features) == ["image", "down1", "down2", "block1", "block3"]
    for name, feature in features.items():
        torch.testing.assert_close(feature, maps[name], rtol=1e-9, atol=1e-9)
    x = torch.cat([image, expected], dim=1)
    for level in range(3):
        x = convolved(discriminator.state_dict(), f"scales.0.stages.{level}.0", x, zeros=1)
        x = F.leaky_relu(normed(x, 1e-3) if level else x, 0.2)
        x = blurred(x) if level < 2 else x
    logits = convolved(discriminator.state_dict(), "scales.0.head", x, zeros=1)
    torch.testing.assert_close(discriminator(expected, image).logits, (logits,), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", ["cut", "cyclegan"])
@pytest.mark.parametrize("section", [{}, {"unshuffle": 2, "halvings": 1, "blocks": 1}])
def test_shapes_of_the_features(family: str, section: dict[str, Any]) -> None:
    translator, _ = translators(family, 64, **section)
    assert isinstance(translator, ResNetTranslator)
    _, features = translator.features(**given(translator.takes))
    assert {name: (map.shape[1], map.shape[2]) for name, map in features.items()} == translator.feature_shapes
    entered: list[Tensor] = []
    translator.last.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    encoded = translator.encode(**given(translator.takes))
    assert not entered and list(encoded) == list(features)
    assert all(torch.equal(encoded[name], feature) for name, feature in features.items())


def test_numbers_of_the_published_networks() -> None:
    """Those of CycleGAN, since filters learn nothing; the layers of nine blocks are the authors' 0, 4, 8, 12 and 16."""
    shape = ImageShape(64, 3, 0)
    with torch.device("meta"):
        generator = CUTGenerator(Settings(), shape, TAKES)
        assert round(numbers(generator) / 1e6, 3) == 11.378
        assert round(numbers(CUTDiscriminator(Settings(), shape, 0)) / 1e6, 3) == 2.765
        widths = {name: width for name, (width, _) in generator.feature_shapes.items()}
        assert widths == {"image": 3, "down1": 128, "down2": 256, "block1": 256, "block5": 256}
        assert numbers(PatchMLPs(generator.feature_shapes)) == sum((width + 1 + 257) * 256 for width in widths.values())


def test_glorots_weights_begin_small() -> None:
    """Variance 2 / (fan in + fan out) times 0.02 squared."""
    generator = CUTGenerator(Settings(width=16), ImageShape(64, 3, 0), TAKES)
    weight = generator.get_parameter("blocks.0.first.weight")
    assert weight.std().item() == pytest.approx(0.02 * (2 / (9 * 128)) ** 0.5, rel=0.03)
    assert not generator.get_parameter("blocks.0.first.bias").any()


def test_patches_are_seen_where_they_are() -> None:
    torch.manual_seed(0)
    mlps = PatchMLPs({"image": (3, 8), "down1": (5, 4)})
    for parameter in mlps.parameters():
        nn.init.normal_(parameter, std=0.3)
    positions = mlps.draw(20)
    assert {name: len(one) for name, one in positions.items()} == {"image": 20, "down1": 16}
    assert all(len(one.unique()) == len(one) and one.max() < mlps.sides[name] ** 2 for name, one in positions.items())
    maps = {"image": torch.randn(2, 3, 8, 8), "down1": torch.randn(2, 5, 4, 4)}
    found = mlps(maps, positions)
    for name, side in mlps.sides.items():
        first, second = mlps.get_submodule(f"layers.{name}.0"), mlps.get_submodule(f"layers.{name}.2")
        for index, position in enumerate(positions[name].tolist()):
            row, column = divmod(position, side)
            expected = second(first(maps[name][:, :, row, column]).relu())
            torch.testing.assert_close(found[name][:, index], expected)
    with torch.autocast("cpu", torch.bfloat16):
        near = mlps(maps, positions)
    for name, one in near.items():
        assert one.dtype == torch.float32 and (one - found[name]).norm() < 0.02 * found[name].norm()
