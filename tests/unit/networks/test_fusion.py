"""Networks that fuse noise, text and sound: shapes, what is missing, guidance, and where they start."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from atelier.config.model import ModelSettings
from atelier.config.section import SettingsError
from atelier.networks import zoo
from atelier.networks.fusion import Affines, FusionGenerator, SoundEncoder, directions
from atelier.networks.inputs import Sound
from atelier.networks.layers import ImageShape, NetworkError
from tests.support.small_fusion import BANDS, FRAMES, NOISE, SIZE, model, networks, takes, told
from tests.support.small_models import model as latent_model


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 3)])
def test_shapes_and_every_parameter_used(side: int, channels: int, sound: bool) -> None:
    generator, discriminator = networks(side, channels, sound)
    given = told(2, sound)
    images = generator(**given, variation=torch.randn(2, 16))
    assert images.shape == (2, channels, side, side) and images.abs().max() <= 1
    logits = discriminator(images, directions(given["text"])).logits
    assert logits.shape == (2,)
    _, log_variance = generator.text_moments(given["text"])
    guidance = generator(**given, guidance=torch.tensor([0.5, 0.7]))
    (logits.sum() + log_variance.sum() + guidance.sum()).backward()
    assert [name for network in (generator, discriminator) for name, p in network.named_parameters() if p.grad is None] == []


def test_output_skips_add_the_pixels_of_all_blocks() -> None:
    generator, _ = networks(channels=3, skips=True)
    given = told(2)
    code = generator.code(**given)
    images = generator(**given, variation=None)
    assert images.shape == (2, 3, 28, 28) and images.abs().max() > 1  # no tanh
    x, pixels = generator.first(code), torch.zeros(2, 3, 3, 3)
    for number, block in enumerate(generator.blocks):
        x = block(F.interpolate(x, scale_factor=2, mode="bilinear") if number else x, code)
        to_pixels = generator.skips[number] if number < len(generator.skips) else generator.pixels
        own = to_pixels(F.leaky_relu(x, 0.2))
        pixels = own + F.interpolate(pixels, size=own.shape[2:], mode="bilinear") if number else own
    torch.testing.assert_close(images, pixels, atol=1e-4, rtol=1e-4)
    images.sum().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None] == []


def test_generators_of_before_output_skips_are_read() -> None:
    identity = model().identity()
    assert "skips" not in identity["fusion"], "the run's key of before"
    assert ModelSettings.from_identity(identity, "generator.json").family == model().family
    assert ModelSettings.from_identity(model(skips=True).identity(), "generator.json").family == model(skips=True).family


def test_zeros_are_missing_and_each_input_matters() -> None:
    generator, _ = networks()
    given = told(3)
    noise, text, audio = given["noise"], given["text"], given["audio"]
    nothing = generator.code(noise)
    torch.testing.assert_close(generator.code(noise, 0 * text, 0 * audio), nothing)
    mixed = generator.code(noise, text * torch.tensor([[1.0], [0.0], [1.0]]), audio)
    torch.testing.assert_close(mixed[1], generator.code(noise, None, audio)[1])
    torch.testing.assert_close(mixed[::2], generator.code(noise, text, audio)[::2])
    codes = [nothing, generator.code(noise, text), generator.code(noise, None, audio), generator.code(noise, text, audio)]
    assert all((a - b).abs().max() > 0.1 for number, a in enumerate(codes) for b in codes[:number])


def test_guidance_scales_the_difference_to_null() -> None:
    generator, _ = networks()
    given = told(3)
    null, plain = generator.code(given["noise"]), generator.code(**given)
    for guidance in (torch.tensor(2.5), torch.full((3,), 2.5)):
        torch.testing.assert_close(generator.code(**given, guidance=guidance), null + 2.5 * (plain - null), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generator.code(**given, guidance=torch.tensor(0.0)), null)


def test_a_text_varies_around_its_mean_in_training_alone() -> None:
    """The code is normalized, so the variation shows in its direction."""
    generator, _ = networks()
    given = told(1)
    variation = torch.randn(4000, 16, generator=torch.Generator().manual_seed(1))
    several = {name: values.expand(4000, *values.shape[1:]) for name, values in given.items() if name != "audio"}
    mean, log_variance = generator.text_moments(given["text"])
    codes = generator.code(**several, variation=variation) - generator.code(given["noise"])
    expected = F.layer_norm(mean + variation * (log_variance / 2).exp(), (16,)) - generator.nulls["text"]
    torch.testing.assert_close(codes, expected, atol=1e-5, rtol=1e-4)


def test_length_of_a_text_does_not_matter() -> None:
    generator, _ = networks()
    given = told(2)
    torch.testing.assert_close(generator.code(given["noise"], 7 * given["text"]), generator.code(given["noise"], given["text"]))
    assert directions(torch.zeros(2, 5)).eq(0).all()


def test_affines_start_as_the_identity() -> None:
    torch.manual_seed(0)
    maps, code = torch.randn(2, 3, 4, 4), torch.randn(2, 8)
    expected = F.leaky_relu(F.leaky_relu(maps, 0.2), 0.2)
    torch.testing.assert_close(Affines(8, 3)(maps, code), expected)


def test_a_discriminator_judges_an_image_by_its_text() -> None:
    _, discriminator = networks()
    images, texts = torch.randn(2, 1, 28, 28), directions(torch.randn(2, SIZE))
    features = discriminator.features(images)
    torch.testing.assert_close(discriminator.judge(features, texts).logits, discriminator(images, texts).logits)
    assert (discriminator.judge(features, texts.roll(1, 0)).logits - discriminator(images, texts).logits).abs().min() > 1e-3
    with pytest.raises(NetworkError, match="pass zeros where there is none"):
        discriminator(images)


def test_bfloat16_is_near_float32() -> None:
    generator, discriminator = networks()
    given = told(4)
    with torch.no_grad():
        exact, texts = generator(**given), directions(given["text"])
        with torch.autocast("cpu", torch.bfloat16):
            images, logits = generator(**given), discriminator(exact, texts).logits
        assert (images.float() - exact).square().mean().sqrt() < 0.05 * exact.std()
        right = discriminator(exact, texts).logits
        assert (logits.float() - right).abs().max() < 0.05 * right.abs().max()


def test_computed_again_it_is_the_same() -> None:
    results = []
    for checkpointing in (False, True):
        generator, discriminator = networks()
        for network in (generator, discriminator):
            network.activation_checkpointing = checkpointing
        given = told(2)
        discriminator(generator(**given), directions(given["text"])).logits.sum().backward()
        results.append([p.grad for network in (generator, discriminator) for p in network.parameters() if p.grad is not None])
    for plain, again in zip(*results, strict=True):
        torch.testing.assert_close(plain, again)


def test_sizes() -> None:
    """Of the defaults in color, worked out layer by layer: a 3x3 convolution from a to b has 9ab + b numbers."""
    sound = SoundEncoder(Sound(bands=BANDS, frames=FRAMES), 32, 384)
    convolutions = [(1, 32), (32, 64), (64, 128)]
    expected = sum(9 * a * b + b + 2 * b for a, b in convolutions) + 128 * 5 * 384 + 384
    assert sum(p.numel() for p in sound.parameters()) == expected == 339_264
    generator = FusionGenerator(model(code=16).family, ImageShape(28, 3, 0), takes(sound=False))  # type: ignore[arg-type]
    widths, code = [8, 8, 4], 16
    blocks = 0
    for inner, outer in zip([8, *widths], widths, strict=False):
        affines = sum(2 * (code * code + code + code * 2 * width + 2 * width) for width in (inner, outer))
        blocks += affines + 9 * inner * outer + outer + 9 * outer * outer + outer + (inner * outer if inner != outer else 0)
    ends = (NOISE + 1) * code + (SIZE + 1) * 2 * code + code + (code + 1) * 8 * 49 + 9 * 4 * 3 + 3
    assert sum(p.numel() for p in generator.parameters()) == blocks + ends


def test_families_are_chosen_by_what_they_start_from() -> None:
    shape = ImageShape(28, 1, 0)
    with pytest.raises(NetworkError, match=r"dcgan starts from noise, and task .* from text and sound: choose among fusion$"):
        zoo.fusing(latent_model("dcgan"), shape, takes())
    with pytest.raises(NetworkError, match="fusion starts from text and sound, and task fusion from noise"):
        zoo.build(model(), shape)
    with pytest.raises(NetworkError, match="takes noise, text and maybe audio, not noise, guidance"):
        FusionGenerator(model().family, shape, {name: kind for name, kind in takes().items() if name in ("noise", "guidance")})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="latent_dim is missing, and fusion makes images of noise"):
        type(model()).from_identity({"architecture": "fusion", "conditional": False, "fusion": {}}, "a test")
