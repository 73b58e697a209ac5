"""spade and oasis: their networks written out from their tables, their sizes, and how label maps and noise enter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks import semantic, zoo
from atelier.networks.base import PatchOutput, Planes, Translator
from atelier.networks.inputs import Noise, Picture, Takes
from atelier.networks.layers import ImageShape, NetworkError
from atelier.networks.oasis import OASISDiscriminator, OASISGenerator
from atelier.networks.oasis_settings import Settings as OASISSettings
from atelier.networks.spade import SPADEDiscriminator, SPADEGenerator
from atelier.networks.spade_settings import Settings as SPADESettings
from tests.support.small_translators import CLASSES, given, label_map, model, translators

State = dict[str, Tensor]
EPS = 1e-3


def numbers(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def woken(network: nn.Module) -> State:
    """Its state in float64, with weights so large that every layer matters and spectral vectors that have converged a bit."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    network.double().power_iteration()  # type: ignore[operator]
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def convolved(state: State, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """By a weight, or by one that is divided by u W v."""
    if (weight := state.get(f"{name}.weight")) is None:
        raw, norm = state[f"{name}.parametrizations.weight.original"], f"{name}.parametrizations.weight.0.norm"
        weight = raw / (state[f"{norm}._u"] @ raw.flatten(1) @ state[f"{norm}._v"])
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding)


def normed(x: Tensor, kind: str) -> Tensor:
    over = (2, 3) if kind == "instance" else (0, 2, 3)
    return (x - x.mean(dim=over, keepdim=True)) / (x.var(dim=over, keepdim=True, correction=0) + EPS).sqrt()


def modulated(state: State, name: str, x: Tensor, seen: Tensor, kind: str) -> Tensor:
    """Gains and shifts of the label map, resized to the map by its nearest pixels (Park et al. 2019, equation 1)."""
    resized = F.interpolate(seen, size=x.shape[2:], mode="nearest")
    hidden = convolved(state, f"{name}.shared", resized).relu()
    both, width = state[f"{name}.both.weight"], x.shape[1]
    gain, shift = (
        F.conv2d(hidden, both[part], state[f"{name}.both.bias"][part], padding=1) for part in (slice(width), slice(width, None))
    )
    return normed(x, kind) * (1 + gain) + shift


def block(state: State, name: str, x: Tensor, seen: Tensor, kind: str) -> Tensor:
    """SPADE ResBlk (figure 15)."""
    y = convolved(state, f"{name}.first", F.leaky_relu(modulated(state, f"{name}.modulations.0", x, seen, kind), 0.2))
    y = convolved(state, f"{name}.second", F.leaky_relu(modulated(state, f"{name}.modulations.1", y, seen, kind), 0.2))
    if f"{name}.around.both.bias" in state:
        x = convolved(state, f"{name}.skip", modulated(state, f"{name}.around", x, seen, kind), padding=0)
    return x + y


def generated(state: State, x: Tensor, seen: Tensor, kind: str, doubled: list[bool]) -> Tensor:
    for number, after in enumerate(doubled):
        x = block(state, f"blocks.{number}", x, seen, kind)
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if after else x
    return convolved(state, "last", F.leaky_relu(x, 0.2)).tanh()


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).double()


def doubles(translator: Translator) -> dict[str, Tensor]:
    inputs = given(translator.takes)
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


@pytest.mark.parametrize("kind", ["batch", "instance"])
@pytest.mark.parametrize(
    ("doublings", "doubled"),
    [
        (3, [False, False, False, True, True, True, False]),
        (4, [False, False, True, True, True, True, False]),
        (5, [True, False, True, True, True, True, False]),
        (6, [True, True, True, True, True, True, False]),
    ],
)
def test_spades_generator_written_out(doublings: int, doubled: list[bool], kind: str) -> None:
    """Five doublings are the authors' "normal", six their "more"."""
    translator, _ = translators("spade", 2 ** (doublings + 1), norm=kind, doublings=doublings)
    state, inputs = woken(translator), doubles(translator)
    start = F.linear(inputs["noise"], state["linear.weight"], state["linear.bias"]).view(2, -1, 2, 2)
    expected = generated(state, start, one_hot(inputs["map"]), kind, doubled)
    torch.testing.assert_close(translator(**inputs), expected, rtol=1e-8, atol=1e-9)


def test_without_noise_it_starts_from_the_label_map() -> None:
    takes: Takes = {"map": label_map(CLASSES, 32)}
    translator = zoo.translator(model("spade"), ImageShape(32, 3, 0), takes)
    state, inputs = woken(translator), doubles(translator)
    seen = one_hot(inputs["map"])
    start = convolved(state, "first", F.interpolate(seen, size=(4, 4), mode="nearest"))
    expected = generated(state, start, seen, "batch", [False, False, False, True, True, True, False])
    torch.testing.assert_close(translator(**inputs), expected, rtol=1e-8, atol=1e-9)
    assert translator.multiple == 8 and not translator.noise_size
    with pytest.raises(NetworkError, match="takes noise of 0 numbers"):
        translator(torch.zeros(2, 6), **inputs)


def test_oasis_generator_written_out() -> None:
    translator, _ = translators("oasis")
    state, inputs = woken(translator), doubles(translator)
    everywhere = inputs["noise"][:, :, None, None].expand(-1, -1, 32, 32)
    seen = torch.cat([everywhere, one_hot(inputs["map"])], dim=1)
    start = convolved(state, "first", F.interpolate(seen, size=(4, 4), mode="nearest"))
    expected = generated(state, start, seen, "batch", [False, False, True, True, True, False])
    torch.testing.assert_close(translator(**inputs), expected, rtol=1e-8, atol=1e-9)
    with pytest.raises(NetworkError, match="takes noise of 6 numbers"):
        translator(map=inputs["map"])


@pytest.mark.parametrize("more", [[], ["noise"], ["noise", "photo"]])
@pytest.mark.parametrize("family", ["spade", "oasis"])
def test_many_classes_are_looked_up(family: str, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of the weights of the classes around a pixel are the convolution of their planes, gradients included."""
    kinds: Takes = {
        "map": label_map(CLASSES, 32),
        "noise": Noise(size=6, truncation=False),
        "photo": Picture(channels=1, resolution=32),
    }
    takes: Takes = {"map": kinds["map"], **{name: kinds[name] for name in more}}
    torch.manual_seed(0)
    translator = zoo.translator(model(family), ImageShape(32, 3, 0), takes)
    woken(translator)
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in given(translator.takes).items()}
    inputs["map"][:, 3:20, 5:9] = 255
    results = []
    for many in (len(CLASSES) + 1, len(CLASSES)):
        monkeypatch.setattr(semantic, "MANY", many)
        images = translator(**inputs)
        results.append([images, *torch.autograd.grad(images.square().sum(), list(translator.parameters()))])
    for convolved_planes, looked_up in zip(*results, strict=True):
        torch.testing.assert_close(looked_up, convolved_planes, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("family", ["spade", "oasis"])
def test_a_lookup_needs_no_planes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    translator, _ = translators(family)
    monkeypatch.setattr(semantic, "MANY", 1)
    monkeypatch.setattr(translator.planes, "forward", None)
    assert translator(**given(translator.takes)).isfinite().all()


@pytest.mark.parametrize("side", [(1, 1), (1, 4), (2, 3), (5, 4)])
def test_noise_everywhere_is_convolved(side: tuple[int, int]) -> None:
    """As planes that are filled with it."""
    noise, weight = torch.randn(2, 3, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    expected = F.conv2d(noise[:, :, None, None].expand(-1, -1, *side), weight, padding=1)
    torch.testing.assert_close(semantic.everywhere(noise, weight, side), expected)


def test_noise_gives_one_label_map_many_pictures() -> None:
    for family in ("spade", "oasis"):
        translator, _ = translators(family)
        woken(translator)
        inputs = doubles(translator)
        inputs["map"] = inputs["map"][:1].expand(2, -1, -1)
        first, second = translator.eval()(**inputs)
        assert (first - second).abs().mean() > 0.1 * first.std()


def test_spades_discriminator_written_out() -> None:
    translator, discriminator = translators("spade", layers_discriminator=3)
    state, inputs = woken(discriminator), doubles(translator)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    condition = one_hot(inputs["map"])
    found, x, logits = discriminator(images, condition), torch.cat([condition, images], dim=1), []
    for scale in range(2):
        if scale:
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        y = F.leaky_relu(convolved(state, f"scales.{scale}.stages.0.0", x, 2, 2), 0.2)
        for layer, stride in ((1, 2), (2, 2), (3, 1)):
            y = F.leaky_relu(normed(convolved(state, f"scales.{scale}.stages.{layer}.0", y, stride, 2), "instance"), 0.2)
        logits.append(convolved(state, f"scales.{scale}.head", y, 1, 2))
    torch.testing.assert_close(found.logits, tuple(logits), rtol=1e-8, atol=1e-9)


def test_oasis_discriminator_written_out() -> None:
    """Encoder and decoder of residual blocks, the decoder's joined to the encoder's of their side."""
    _, discriminator = translators("oasis", layers_discriminator=4)
    state, images = woken(discriminator), torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def around(name: str, x: Tensor) -> Tensor:
        skip = f"{name}.skip.bias" in state or f"{name}.skip.parametrizations.weight.original" in state
        return convolved(state, f"{name}.skip", x, padding=0) if skip else x

    x, maps = images, []
    for level in range(4):
        name, entered = f"down.{level}", F.leaky_relu(x, 0.2) if level else x
        y = convolved(state, f"{name}.second", F.leaky_relu(convolved(state, f"{name}.first", entered), 0.2))
        x = F.avg_pool2d(y, 2) + F.avg_pool2d(around(name, x), 2)
        maps.append(x)
    for level in range(4):
        name, twice = f"up.{level}", nn.Upsample(scale_factor=2)
        x = torch.cat([maps[-1 - level], x], dim=1) if level else x
        y = convolved(state, f"{name}.first", twice(F.leaky_relu(x, 0.2)))
        x = convolved(state, f"{name}.second", F.leaky_relu(y, 0.2)) + around(name, twice(x))
    (logits,) = discriminator(images).logits
    assert logits.shape == (2, 1 + len(CLASSES), 32, 32)
    torch.testing.assert_close(logits, convolved(state, "head", x, padding=0), rtol=1e-8, atol=1e-9)


def convolution(inner: int, outer: int, side: int = 3, bias: bool = True) -> int:
    """Numbers of a convolution."""
    return inner * outer * side**2 + bias * outer


LARGE = ImageShape(256, 3, 0)


def large(classes: int, noise: int = 0) -> Takes:
    drawn: Takes = {"noise": Noise(size=noise, truncation=False)} if noise else {}
    return {**drawn, "map": label_map([str(one) for one in range(classes)], 256)}


@pytest.mark.parametrize(("classes", "published"), [(36, 93.0), (151, 96.5), (184, 97.5)])
def test_numbers_of_spades_published_generators(classes: int, published: float) -> None:
    """In millions, for the classes of Cityscapes, ADE20K and COCO-Stuff."""
    with torch.device("meta"):
        assert round(numbers(SPADEGenerator(SPADESettings(), LARGE, large(classes))) / 1e6, 1) == published


def test_numbers_of_spades_published_discriminator() -> None:
    with torch.device("meta"):
        discriminator = SPADEDiscriminator(SPADESettings(), LARGE, 36)
    inner = sum(convolution(width, 2 * width, 4, bias=False) for width in (64, 128, 256))
    assert numbers(discriminator) == 2 * (convolution(39, 64, 4) + inner + convolution(512, 1, 4))


def test_numbers_of_oasis_published_generator() -> None:
    """For ADE20K, by hand from its tables."""
    seen = 151 + 64

    def of_block(inner: int, outer: int) -> int:
        modulation = {width: convolution(seen, 128) + 2 * convolution(128, width) for width in (inner, outer)}
        middle = min(inner, outer)
        own = convolution(inner, middle) + convolution(middle, outer) + modulation[inner] + modulation[middle]
        return own + (convolution(inner, outer, 1, bias=False) + modulation[inner] if inner != outer else 0)

    blocks = [(1024, 1024), (1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]
    with torch.device("meta"):
        generator = OASISGenerator(OASISSettings(), LARGE, large(151, 64))
    expected = convolution(seen, 1024) + sum(of_block(*widths) for widths in blocks) + convolution(64, 3)
    assert numbers(generator) == expected == 74_314_691


def test_numbers_of_oasis_published_discriminator() -> None:
    def of_block(inner: int, outer: int) -> int:
        own = convolution(inner, outer) + convolution(outer, outer)
        return own + (convolution(inner, outer, 1) if inner != outer else 0)

    down = [(3, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    up = [(512, 512), (1024, 256), (512, 256), (512, 128), (256, 128), (256, 64)]
    with torch.device("meta"):
        discriminator = OASISDiscriminator(OASISSettings(), LARGE, 151)
    expected = sum(of_block(*widths) for widths in down + up) + convolution(64, 152, 1)
    assert numbers(discriminator) == expected == 22_258_904


def test_label_maps_become_planes_of_classes() -> None:
    takes: Takes = {
        "photo": Picture(channels=3, resolution=4),
        "noise": Noise(size=2),
        "map": label_map(CLASSES, 4),
    }
    planes, inputs = Planes(takes), given(takes)
    inputs["map"][0, 1, 2] = 255
    found = planes(inputs)
    assert planes.width == 6 and found.shape == (2, 6, 4, 4)
    assert torch.equal(found[:, :3], inputs["photo"]) and torch.equal(found, Planes(dict(reversed(takes.items())))(inputs))
    for label in range(len(CLASSES)):
        assert torch.equal(found[:, 3 + label], (inputs["map"] == label).float())
    assert found[0, 3:, 1, 2].sum() == 0 and found[:, 3:].sum() == 31


def test_odds_of_an_image_that_is_told_by_classes() -> None:
    """log((p(a) + p(b)) / p(generated)), the mean over pixels."""
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    share = logits.softmax(dim=1)[:, 0]
    torch.testing.assert_close(PatchOutput((logits,), ((),)).overall, ((1 - share) / share).log().mean(dim=(1, 2)))


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.spade\.doublings is 5, and 32 px.*choose fewer"):
        model("spade", doublings=5).family.check(32)
    with pytest.raises(ValueError, match=r"model\.oasis\.layers_discriminator is 6, and 32 px.*choose fewer"):
        model("oasis", layers_discriminator=6).family.check(32)
    for family in ("spade", "oasis"):
        model(family).family.check(32)
    model("oasis", layers_discriminator=6).family.check(64)


def test_noise_where_it_is_not_taken_is_refused() -> None:
    takes: Takes = {"image": Picture(channels=3, resolution=32), "noise": Noise(size=4)}
    with pytest.raises(NetworkError, match="cyclegan takes no noise called noise; take it out"):
        zoo.translator(model("cyclegan"), ImageShape(32, 3, 0), takes)
    with pytest.raises(NetworkError, match="spade takes no noise called style"):
        zoo.translator(model("spade"), ImageShape(32, 3, 0), {"style": Noise(size=4), "map": label_map(CLASSES, 32)})
    with pytest.raises(NetworkError, match="translates a picture or a label map, and the inputs have neither"):
        zoo.translator(model("spade"), ImageShape(32, 3, 0), {"noise": Noise(size=4)})
