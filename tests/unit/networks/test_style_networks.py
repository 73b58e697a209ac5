"""Networks of style transfer: their published sizes, what an encoder sees, and what becomes of colors, mixtures and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg16, vgg19

from atelier.config.model import ModelSettings
from atelier.config.section import parse
from atelier.networks import zoo
from atelier.networks.adain import AdaINGenerator, Decoder, inputs_of, masked, mixed, recolored
from atelier.networks.inputs import Picture
from atelier.networks.johnson import JohnsonGenerator
from atelier.networks.layers import ImageShape, NetworkError
from atelier.networks.moments import adain
from atelier.networks.vgg import VGG, from_torchvision

SHAPE = ImageShape(32, 3, 0)


def settings(family: str, **section: object) -> ModelSettings:
    return parse({"task": "style", "architecture": family, family: section}, ModelSettings, origin="a test")


def johnson(**section: object) -> JohnsonGenerator:
    torch.manual_seed(0)
    made = zoo.translator(settings("johnson", **section), SHAPE, {"image": Picture(channels=3, resolution=32)})
    assert isinstance(made, JohnsonGenerator)
    return made


def adain_generator(layer: str = "relu3_1", encoder: str = "hed_vgg16", **section: object) -> AdaINGenerator:
    torch.manual_seed(0)
    made = zoo.generator(settings("adain", layer=layer, encoder=encoder, **section), SHAPE, inputs_of(3, 32))
    assert isinstance(made, AdaINGenerator)
    return made


def pictures(seed: int, count: int = 2, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_sizes() -> None:
    assert count(johnson()) == 1_679_235, "of PyTorch's fast_neural_style"
    decoder = Decoder("vgg19", ["relu4_1"], 3)
    assert count(decoder) == 3_505_219, "of the authors' decoder: 512-256, 256-256 x 3, 256-128, 128-128, 128-64, 64-64, 64-3"
    assert count(adain_generator("relu4_1", "vgg19")) == count(decoder), "the encoder's weights are no parameters"
    assert len(adain_generator("relu4_1", "vgg19").encoder.names) == 9


@pytest.mark.parametrize(("kind", "make"), [("vgg16", vgg16), ("vgg19", vgg19)])
def test_layers_see_what_torchvisions_see(kind: str, make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        features = make(weights=None).features  # type: ignore[call-arg]
        assert isinstance(features, nn.Sequential)
    theirs = features[:21].to_empty(device="cpu")
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    ours = VGG(kind, "relu4_1")
    ours.load(from_torchvision(kind, {f"features.{name}": value for name, value in theirs.state_dict().items()}))
    images, mean, std = pictures(1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = ((images + 1) / 2 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    place = {"vgg16": {"relu1_2": 3, "relu4_1": 18}, "vgg19": {"relu1_2": 3, "relu4_1": 20}}[kind]
    with torch.no_grad():
        found = ours(images, list(place))
        for name, index in place.items():
            torch.testing.assert_close(found[name], theirs[: index + 1](x), rtol=1e-4, atol=1e-4)
    with pytest.raises(NetworkError, match="no layer relu5_1"):
        ours(images, ["relu5_1"])
    with pytest.raises(NetworkError, match=r"no weights of vgg\d+: conv1_1.weight"):
        ours.load({})


def test_poolings_take_less_at_odd_rims_and_may_average() -> None:
    most, mean = VGG("vgg16", "relu2_1"), VGG("vgg16", "relu2_1", "average")
    mean.load(dict(most.layers.named_buffers()))
    images = pictures(2, side=7)
    seen = [one(images, ["relu2_1"])["relu2_1"] for one in (most, mean)]
    assert seen[0].shape == (2, 128, 4, 4) and not torch.equal(*seen)


def test_equalized_channels_have_a_mean_of_one_and_see_the_same_but_for_a_factor() -> None:
    images, other = pictures(10), pictures(11)
    network = VGG("hed_vgg16", "relu3_1")
    network.layers["conv2_1"].get_buffer("weight")[3].zero_()  # it sees nothing
    with torch.no_grad():
        before = network(other, ["relu3_1"])["relu3_1"].double()
        network.equalize(images)
        means = {name: value.mean(dim=(0, 2, 3)) for name, value in network(images, network.names).items()}
        after = network(other, ["relu3_1"])["relu3_1"].double()
    assert means["relu2_1"][3] == 0
    for name, mean in means.items():
        alive = mean[mean > 0]
        assert alive.max().item() == pytest.approx(1, rel=1e-3) and alive.median().item() == pytest.approx(1, rel=1e-3), name
    factors = after.sum(dim=(0, 2, 3)) / before.sum(dim=(0, 2, 3)).clamp_min(1e-12)
    torch.testing.assert_close(after, before * factors[:, None, None], rtol=1e-3, atol=1e-4)


def test_johnson_begins_as_the_identity_where_it_adds_and_takes_other_sides() -> None:
    images = pictures(3)
    assert torch.equal(johnson(residual=True, width=4, blocks=1)(image=images), images)
    adding = johnson(residual=True, width=32, blocks=1)
    optimizer = torch.optim.Adam(adding.parameters(), 1e-3)
    (adding(image=images) - 1).square().mean().backward()
    optimizer.step()
    assert 0 < (adding(image=images) - images).abs().mean() < 0.1, "a step does not cross the range of pixels"
    assert johnson(width=4, blocks=1)(image=pictures(4, side=40)).shape == (2, 3, 40, 40)
    with pytest.raises(NetworkError, match="has no discriminator, for it learns without one"):
        zoo.patch_discriminator(settings("johnson"), SHAPE, 0)


@pytest.mark.parametrize("section", [{}, {"skips": True, "narrowing": 2}, {"layer": "relu4_1", "skips": True, "narrowing": 4}])
def test_adain_goes_from_the_content_to_all_of_the_style(section: dict[str, Any]) -> None:
    generator = adain_generator(**section)
    content, style = pictures(5), pictures(6, side=48) / 3
    with torch.no_grad():
        generator.calibrate(content)
        features = generator.features(content)
        assert len(features) == (int(generator.settings.layer[4]) if section else 1)
        for seen in features.values():
            np.testing.assert_allclose(seen.double().mean(dim=(0, 2, 3)), 0, atol=1e-4)
            deviations = seen.double().std(dim=(0, 2, 3))
            assert [deviations.max().item(), deviations.median().item()] == pytest.approx([1, 1], rel=1e-3)
        none, all_of_it = (generator(content, style, torch.tensor(share)) for share in (0.0, 1.0))
        torch.testing.assert_close(none, generator.decode(generator.features(content)))
        torch.testing.assert_close(all_of_it, generator(content, style))
        each = generator.generate({"content": content, "style": style, "alpha": torch.tensor([0.0, 1.0])})
        torch.testing.assert_close(each, torch.stack([none[0], all_of_it[1]]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(generator(content, content), none, rtol=1e-3, atol=1e-3)
    with pytest.raises(NetworkError, match="adain takes content, style, alpha, and the inputs are image"):
        zoo.generator(settings("adain"), SHAPE, {"image": Picture(channels=3, resolution=32)})


def test_a_skip_connection_joins_a_layer_with_the_styles_moments_where_the_map_has_its_size() -> None:
    """Weights that pass on nothing but what is joined: the decoder's picture follows from that layer alone."""
    generator = adain_generator(skips=True, narrowing=2)
    shapes = [tuple(layer.get_parameter("weight").shape[:2]) for layer in generator.decoder.layers]
    assert shapes == [(64, 256), (64, 64 + 128), (32, 64), (32, 32 + 64), (3, 32)]
    content, style = pictures(12), pictures(13)
    with torch.no_grad():
        for layer in generator.decoder.layers:
            layer.get_parameter("weight").zero_()
        generator.decoder.layers[3].get_parameter("weight")[0, 32 + 7, 1, 1] = 1  # channel 7 of relu1_1
        generator.decoder.layers[4].get_parameter("weight")[:, 0, 1, 1] = 1
        made = generator(content, style)
        wanted = adain(generator.features(content)["relu1_1"], generator.features(style)["relu1_1"])[:, 7:8].relu()
    torch.testing.assert_close(made, wanted.expand(-1, 3, -1, -1))


def test_mixtures_and_masks_are_of_the_styles_that_they_name() -> None:
    content, first, other = (pictures(seed) for seed in (7, 8, 9))
    torch.testing.assert_close(mixed(content, [first, other], [0.0, 1.0]), adain(content, other))
    halves = mixed(content, [first, other], [0.5, 0.5])
    torch.testing.assert_close(halves, (adain(content, first) + adain(content, other)) / 2)
    with pytest.raises(ValueError, match=r"weights 0\.5, 0\.6, which do not add up to 1"):
        mixed(content, [first, other], [0.5, 0.6])
    left = torch.zeros(1, 1, 64, 64)
    left[..., :32] = 1
    found = masked([first, other], [left, 1 - left])
    torch.testing.assert_close(found[..., :16], first[..., :16])
    torch.testing.assert_close(found[..., 16:], other[..., 16:])


def test_a_recolored_style_has_mean_and_covariance_of_the_contents_colors() -> None:
    rng = torch.Generator().manual_seed(0)
    content = (torch.randn(1, 3, 24, 24, generator=rng) * torch.tensor([0.2, 0.1, 0.05])[:, None, None]).cumsum(dim=1)
    style = torch.randn(1, 3, 30, 18, generator=rng) * 0.2 + 0.1
    found = recolored(style, content)[0].flatten(1).double().numpy()
    wanted = content[0].flatten(1).double().numpy()
    np.testing.assert_allclose(found.mean(axis=1), wanted.mean(axis=1), atol=2e-3)
    np.testing.assert_allclose(np.cov(found), np.cov(wanted), atol=2e-3)
    flat = recolored(torch.full((1, 3, 8, 8), 0.3), content)
    assert (flat - content.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-3, "of one color nothing is amplified"
